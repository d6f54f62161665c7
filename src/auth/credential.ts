/** The `Authorization` header (RFC 7235, 6750, 7617). Pure. */
import { fail } from '../errors/index.ts';

type Credential = { kind: 'bearer'; token: string } | { kind: 'basic'; user: string; secret: string };

/** The value of `WWW-Authenticate` in a 401. */
export const challenge = 'Bearer realm="drydock", Basic realm="drydock", charset="UTF-8"';

/** Reads the header; undefined when there is none. Throws `unauthenticated` for a malformed one, without showing it. */
export function parseAuthorization(header: string | undefined): Credential | undefined {
  if (header === undefined || header.trim() === '') return undefined;
  const text = header.trim();
  const [scheme = ''] = text.split(/\s/, 1);
  const value = text.slice(scheme.length).trim();
  switch (scheme.toLowerCase()) {
    case 'bearer':
      if (!/^[A-Za-z0-9\-._~+/]+=*$/.test(value))
        throw malformed('the bearer token has characters no token has');
      return { kind: 'bearer', token: value };
    case 'basic': {
      const pair = /^[A-Za-z0-9+/_-]+=*$/.test(value) ? Buffer.from(value, 'base64').toString('utf8') : '';
      const colon = pair.indexOf(':');
      if (colon < 0) throw malformed('the Basic credential is not base64 of user:secret');
      return { kind: 'basic', user: pair.slice(0, colon), secret: pair.slice(colon + 1) };
    }
    default:
      throw malformed('its scheme is neither Bearer nor Basic');
  }
}

/** Whether a bearer token has the form of a signed JWT: three parts, of which the first two are JSON objects. */
export function looksLikeJwt(token: string): boolean {
  return /^eyJ[\w-]*\.eyJ[\w-]*\.[\w-]*$/.test(token);
}

function malformed(why: string): Error {
  return fail('unauthenticated', 'client', `the Authorization header cannot be read: ${why}`, {
    hint: 'Send `Authorization: Bearer TOKEN`, or Basic with the token’s name as user and the token as password.',
  });
}
