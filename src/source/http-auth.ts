/**
 * The client's credentials for the server of one file: a secret that the source names, or one that is named after the
 * host.
 */
import { DrydockError, fail } from '../errors/index.ts';
import type { Session } from '../session/index.ts';

export interface HttpAuth {
  /** The value of an Authorization header. It is a secret. */
  authorization: string;
  /** The ID of the client's secret that it comes from. */
  secret: string;
}

/**
 * Asks the client for the secret `named` by the source. Without a name it asks for HTTP_AUTH_TOKEN_<host> (a bearer
 * token) and HTTP_AUTH_HEADER_<host> (a whole header value), which the client need not have; the host is in lower case,
 * without the port. Throws `not-found` when there is no secret of the source's name, `invalid` for one that no header
 * can hold.
 */
export async function httpAuth(
  url: string,
  named: string | undefined,
  session: Pick<Session, 'secret'>,
): Promise<HttpAuth | undefined> {
  if (named !== undefined) {
    const authorization = headerOf(named, await session.secret(named));
    if (authorization !== undefined) return { authorization, secret: named };
    throw fail('not-found', 'http', `the client gives no secret ${JSON.stringify(named)}`, {
      hint: `Give it with --secret id=${named},….`,
    });
  }
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  for (const [prefix, scheme] of [
    ['HTTP_AUTH_TOKEN_', 'Bearer '],
    ['HTTP_AUTH_HEADER_', ''],
  ] as const) {
    const secret = prefix + host;
    const value = headerOf(secret, await ifThere(session, secret));
    if (value !== undefined) return { authorization: scheme + value, secret };
  }
  return undefined;
}

/** A secret that a client need not have: undefined also when the client is gone, or does not answer. */
async function ifThere(session: Pick<Session, 'secret'>, id: string): Promise<Buffer | undefined> {
  try {
    return await session.secret(id);
  } catch (err) {
    const ours = err instanceof DrydockError && (err.hop !== 'session' || err.code === 'invalid');
    if (ours || (err instanceof DrydockError && err.code === 'canceled')) throw err;
    return undefined;
  }
}

function headerOf(id: string, secret: Buffer | undefined): string | undefined {
  const value = secret?.toString().trim();
  if (value === undefined || value === '') return undefined;
  // What Node takes as a header's value: no line breaks, nothing beyond Latin-1.
  if (/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) return value;
  throw fail('invalid', 'http', `the secret ${JSON.stringify(id)} is no value of an HTTP header`, {
    hint: 'It must be one line of plain characters.',
  });
}
