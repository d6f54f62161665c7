/** The OpenID Connect token that proves to Fulcio who signs. */
import { readFile, stat } from 'node:fs/promises';
import { fail } from '../errors/index.ts';
import type { Services } from './services.ts';

/** The audience of tokens for sigstore. */
const audience = 'sigstore';
const maxToken = 64 << 10;

/** A token and the subject in it that is signed to prove that one has the key: the e-mail address, or else `sub`. */
export interface IdentityToken {
  token: string;
  subject: string;
}

/**
 * Reads a token. Throws `invalid` for one that is no JWT, has no subject, or is no longer valid; the token itself is in
 * no error.
 */
export function parseIdentityToken(text: string): IdentityToken {
  const token = text.trim();
  let claims: Record<string, unknown>;
  try {
    if (token.length > maxToken) throw new Error('too long');
    claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
  } catch {
    throw bad('it is no JWT');
  }
  const { email, email_verified: verified, sub, exp } = claims;
  if (typeof exp === 'number' && exp * 1000 < Date.now()) throw bad('it has expired');
  if (typeof email === 'string' && email !== '') {
    if (verified !== true) throw bad('its issuer has not verified the e-mail address');
    return { token, subject: email };
  }
  if (typeof sub !== 'string' || sub === '') throw bad('it has no subject');
  return { token, subject: sub };
}

function bad(why: string) {
  return fail('invalid', 'client', `the identity token is not valid: ${why}`, {
    hint: `Give a fresh OpenID Connect token with the audience "${audience}".`,
  });
}

/** The token that a flag gives: itself, or the path of a file with it. */
export async function tokenOrFile(text: string): Promise<string> {
  const isFile = (await stat(text).catch(() => undefined))?.isFile() === true;
  return isFile ? readFile(text, 'utf8') : text;
}

/**
 * The token of the surroundings: SIGSTORE_ID_TOKEN (GitLab), or GitHub Actions' service. Undefined when there is none.
 */
export async function ambientToken(env: NodeJS.ProcessEnv, services: Services): Promise<string | undefined> {
  if (env.SIGSTORE_ID_TOKEN) return env.SIGSTORE_ID_TOKEN;
  const { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer } = env;
  if (!url || !bearer || !URL.canParse(url)) return undefined;
  const at = new URL(url);
  at.searchParams.set('audience', audience);
  return services.ambientToken(at.href, bearer);
}
