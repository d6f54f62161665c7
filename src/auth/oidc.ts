/** OIDC tokens (signed JWTs) of the issuers that the policy lists, checked with jose. */
import { readFileSync, statSync } from 'node:fs';
import type { JWTPayload, JWTVerifyGetKey } from 'jose';
import { DrydockError, fail } from '../errors/index.ts';
import { printable } from './identity.ts';
import type { Issuer } from './policy.ts';
import type { OidcIdentity } from './types.ts';

const fetchTimeoutMs = 5_000;
/** How often a new key set is fetched for an unknown key id at most, in ms. */
const cooldownMs = 30_000;
/** How long a key set is used before it is fetched again, in ms. */
const keepMs = 10 * 60_000;
const maxDocument = 1 << 20;
const maxClaims = 100;

export interface OidcTokens {
  /**
   * The identity of a JWT whose signature, issuer, audience and times are right. Throws `unauthenticated` with what is
   * not right, and `unavailable` when the issuer's keys cannot be had.
   */
  check(jwt: string): Promise<OidcIdentity>;
}

/** Makes the checks of a policy's issuers. `now` gives the time, in ms since the epoch. */
export function createOidcTokens(issuers: readonly Issuer[], now: () => number = Date.now): OidcTokens {
  const keys = new Map<string, Promise<JWTVerifyGetKey>>();

  function keysOf(issuer: Issuer): Promise<JWTVerifyGetKey> {
    let found = keys.get(issuer.issuer);
    if (found === undefined) {
      found = keySource(issuer);
      keys.set(issuer.issuer, found);
      found.catch(() => keys.delete(issuer.issuer));
    }
    return found;
  }

  return {
    async check(jwt) {
      const { decodeJwt, jwtVerify } = await import('jose');
      let claimed: JWTPayload;
      try {
        claimed = decodeJwt(jwt);
      } catch {
        throw refused('it is malformed');
      }
      const issuer = issuers.find((each) => each.issuer === claimed.iss);
      if (issuer === undefined) {
        throw refused(
          `its issuer ${printable(JSON.stringify(claimed.iss ?? null))} is not one the policy lists under "oidc"`,
        );
      }
      let payload: JWTPayload;
      try {
        ({ payload } = await jwtVerify(jwt, await keysOf(issuer), {
          issuer: issuer.issuer,
          audience: issuer.audience,
          algorithms: issuer.algorithms,
          clockTolerance: issuer.clockSkewSeconds,
          currentDate: new Date(now()),
          requiredClaims: ['exp', 'sub'],
        }));
      } catch (err) {
        throw err instanceof DrydockError ? err : await reason(err, claimed, issuer);
      }
      return identityOf(issuer.issuer, payload);
    },
  };
}

function identityOf(issuer: string, payload: JWTPayload): OidcIdentity {
  const claims: Record<string, string | number | boolean | string[]> = {};
  for (const [name, value] of Object.entries(payload).slice(0, maxClaims)) {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      claims[name] = value;
    else if (Array.isArray(value)) claims[name] = value.filter((item) => typeof item === 'string');
  }
  const { email, groups } = claims;
  return {
    kind: 'oidc',
    issuer,
    subject: payload.sub ?? '',
    // An address that nobody verified could be anyone's.
    email: typeof email === 'string' && claims.email_verified === true ? email : undefined,
    groups: Array.isArray(groups) ? groups : [],
    claims,
  };
}

/** jose's reason for refusing a token, in our words. */
async function reason(err: unknown, claimed: JWTPayload, issuer: Issuer): Promise<DrydockError> {
  const { errors } = await import('jose');
  const seconds = (time: unknown) =>
    typeof time === 'number' && Math.abs(time) < 1e11
      ? new Date(time * 1000).toISOString()
      : 'an unknown time';
  if (err instanceof errors.JWTExpired) return refused(`it expired at ${seconds(claimed.exp)}`);
  if (err instanceof errors.JWTClaimValidationFailed) {
    if (err.claim === 'aud' && err.reason === 'check_failed') {
      const wanted = issuer.audience.map((each) => JSON.stringify(each)).join(' or ');
      return refused(`its audience is ${printable(JSON.stringify(claimed.aud))}, not ${wanted}`, err);
    }
    if (err.claim === 'nbf' && err.reason === 'check_failed') {
      return refused(`it is not valid before ${seconds(claimed.nbf)}`);
    }
    return refused(
      err.reason === 'missing' ? `it has no "${err.claim}"` : `its "${err.claim}" does not hold`,
      err,
    );
  }
  if (err instanceof errors.JWSSignatureVerificationFailed) return refused('its signature does not hold');
  if (err instanceof errors.JWKSNoMatchingKey || err instanceof errors.JWKSMultipleMatchingKeys) {
    return refused('it is signed with a key that its issuer does not publish');
  }
  if (err instanceof errors.JOSEAlgNotAllowed) return refused('its signature algorithm is not allowed');
  if (
    err instanceof errors.JWSInvalid ||
    err instanceof errors.JWTInvalid ||
    err instanceof errors.JOSENotSupported
  ) {
    return refused('it is malformed');
  }
  return keysMissing(issuer, err);
}

async function keySource(issuer: Issuer): Promise<JWTVerifyGetKey> {
  if (issuer.jwks !== undefined && 'file' in issuer.jwks) return fileKeys(issuer, issuer.jwks.file);
  const { createRemoteJWKSet, customFetch } = await import('jose');
  const url = new URL(issuer.jwks?.url ?? (await discover(issuer)));
  return createRemoteJWKSet(url, {
    timeoutDuration: fetchTimeoutMs,
    cooldownDuration: cooldownMs,
    cacheMaxAge: keepMs,
    [customFetch]: boundedFetch,
  });
}

/** The key set in a file, which is read again when it changes. */
function fileKeys(issuer: Issuer, file: string): JWTVerifyGetKey {
  let stamp = '';
  let keys: JWTVerifyGetKey | undefined;
  return async (header, token) => {
    try {
      const { mtimeMs, size, ino } = statSync(file);
      const now = `${mtimeMs} ${size} ${ino}`;
      if (now !== stamp || keys === undefined) {
        if (size > maxDocument) throw new Error('larger than 1 MiB');
        const { createLocalJWKSet } = await import('jose');
        keys = createLocalJWKSet(JSON.parse(readFileSync(file, 'utf8')));
        stamp = now;
      }
    } catch (err) {
      throw keysMissing(issuer, err);
    }
    return keys(header, token);
  };
}

/** The key set's URL in the issuer's discovery document (OpenID Connect Discovery 1.0). */
async function discover(issuer: Issuer): Promise<string> {
  const url = `${issuer.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  try {
    const answer = await boundedFetch(url, {
      redirect: 'manual',
      signal: AbortSignal.timeout(fetchTimeoutMs),
    });
    if (answer.status !== 200) throw new Error(`${url} answered ${answer.status}`);
    const document = (await answer.json()) as { issuer?: unknown; jwks_uri?: unknown };
    if (document.issuer !== issuer.issuer) throw new Error(`${url} is of another issuer`);
    if (typeof document.jwks_uri !== 'string') throw new Error(`${url} names no jwks_uri`);
    const keys = new URL(document.jwks_uri);
    if (keys.protocol !== 'https:' && keys.origin !== new URL(url).origin) {
      throw new Error(`${url} names a jwks_uri that is not https`);
    }
    return keys.href;
  } catch (err) {
    throw keysMissing(issuer, err);
  }
}

/** A fetch that takes at most 1 MiB of answer. */
async function boundedFetch(url: string, options: RequestInit): Promise<Response> {
  const answer = await fetch(url, options);
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of answer.body ?? []) {
    size += part.length;
    if (size > maxDocument) throw new Error(`${url} answered more than 1 MiB`);
    parts.push(part);
  }
  return new Response(parts.length === 0 ? null : Buffer.concat(parts), {
    status: answer.status,
    headers: answer.headers,
  });
}

/**
 * The error for a refused token. jose's own error is left out of it: it says the same in other words, and may quote the
 * token.
 */
function refused(why: string, cause?: unknown): DrydockError {
  return fail('unauthenticated', 'client', `the OIDC token is refused: ${why}`, {
    hint: 'The policy file lists the issuers, audiences and algorithms that are taken, under "oidc".',
    cause,
  });
}

function keysMissing(issuer: Issuer, cause: unknown): DrydockError {
  const why = cause instanceof Error ? deepest(cause).message : String(cause);
  return fail(
    'unavailable',
    'http',
    `the OIDC token cannot be checked: no keys of ${printable(issuer.issuer)}: ${printable(why)}`,
    {
      hint: 'The daemon must be able to read the "jwks" that the policy file names, or reach the issuer.',
    },
  );
}

/** The innermost cause of an error: `fetch failed` alone says nothing. */
function deepest(err: Error): Error {
  let at = err;
  for (let i = 0; i < 5 && at.cause instanceof Error; i++) at = at.cause;
  return at;
}
