/** Credentials in request headers: `X-Registry-Auth` (one) and `X-Registry-Config` (by registry). */
import { DrydockError } from '../../../errors/index.ts';
import { type CredentialSource, parseReference, type RegistryCredentials } from '../../../oci/index.ts';
import { hostOfAddress, withoutEnd } from '../../../words/index.ts';
import { apiError } from './errors.ts';
import { parseBoundedJson } from './limits.ts';

const hubKey = 'https://index.docker.io/v1/';

/** docker's AuthConfig. */
interface AuthConfig {
  username?: string;
  password?: string;
  auth?: string;
  identitytoken?: string;
  registrytoken?: string;
  serveraddress?: string;
}

/**
 * The credentials in `X-Registry-Auth`. They are for the registry of the image that the request names, and for no
 * mirror of it. Undefined when there are none. Throws `invalid` for a header that is not base64 of JSON.
 */
export function registryAuth(
  header: string | string[] | undefined,
  image: string,
): CredentialSource | undefined {
  const sent = 'X-Registry-Auth';
  const value = decode(header, sent);
  if (value === undefined) return undefined;
  const found = credentialsOf(value as AuthConfig);
  if (found === undefined) return undefined;
  const { domain } = parseReference(image);
  return async (host) => (bare(host) === bare(domain) ? { ...found, sent } : undefined);
}

/**
 * The credentials in `X-Registry-Config`, by the host that asks for them. Throws `invalid` for a header that is not
 * base64 of JSON.
 */
export function registryConfig(header: string | string[] | undefined): CredentialSource | undefined {
  const sent = 'X-Registry-Config';
  const value = decode(header, sent);
  if (value === undefined) return undefined;
  const byHost = new Map<string, RegistryCredentials>();
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry !== 'object' || entry === null) continue;
    const found = credentialsOf(entry as AuthConfig);
    if (found !== undefined) byHost.set(bare(key), { ...found, sent });
  }
  return async (host) => byHost.get(bare(host));
}

/** The host in a key such as `https://index.docker.io/v1/`. Docker Hub's names count as one. */
function bare(key: string): string {
  if (key === hubKey) return 'docker.io';
  const host = hostOfAddress(key);
  return /^(index\.|registry-1\.)?docker\.io$/.test(host) ? 'docker.io' : host;
}

/** Decodes the header. Go's clients send the URL alphabet, most others the standard one; both may leave padding off. */
function decode(header: string | string[] | undefined, name: string): Record<string, unknown> | undefined {
  const text = Array.isArray(header) ? header[0] : header;
  if (text === undefined || text.trim() === '') return undefined;
  const json = Buffer.from(text.trim().replaceAll('-', '+').replaceAll('_', '/'), 'base64').toString('utf8');
  if (json.trim() === '') return undefined;
  let value: unknown;
  try {
    value = parseBoundedJson(json, `the ${name} header`);
  } catch (err) {
    if (err instanceof DrydockError) throw err;
    throw apiError('invalid', `invalid ${name} header: it is not JSON in base64`);
  }
  if (value === null) return undefined;
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw apiError('invalid', `invalid ${name} header: want a JSON object in base64`);
  }
  return value as Record<string, unknown>;
}

/** The credentials in an entry; undefined when it has none. */
export function credentialsOf(entry: AuthConfig): RegistryCredentials | undefined {
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);
  let username = text(entry.username);
  let password = text(entry.password);
  const auth = text(entry.auth);
  if (auth !== undefined && (username === undefined || password === undefined)) {
    const pair = Buffer.from(auth.replaceAll('-', '+').replaceAll('_', '/'), 'base64').toString('utf8');
    const colon = pair.indexOf(':');
    if (colon >= 0) {
      username = pair.slice(0, colon);
      password = withoutEnd(pair.slice(colon + 1), '\0');
    }
  }
  const out: RegistryCredentials = {};
  if (username !== undefined) out.username = username;
  if (password !== undefined) out.password = password;
  const identityToken = text(entry.identitytoken);
  const registryToken = text(entry.registrytoken);
  if (identityToken !== undefined) out.identityToken = identityToken;
  if (registryToken !== undefined) out.registryToken = registryToken;
  return Object.keys(out).length === 0 ? undefined : out;
}
