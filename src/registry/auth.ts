/**
 * Authorization at registries: basic auth and docker's token auth.
 * https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/
 */
import { hash } from 'node:crypto';
import { DrydockError, fail } from '../errors/index.ts';
import {
  hasCredentials,
  type RegistryCredentials,
  type TokenRequest,
  type TokenSource,
} from '../oci/index.ts';
import type { Purpose } from './errors.ts';
import { statusError } from './errors.ts';
import { type HttpPool, readBody } from './http.ts';

/** The kind of authorization that a host asks for. */
type Challenge = { scheme: 'basic' } | { scheme: 'bearer'; realm: string; service?: string; scope?: string };

/** The scope of a token: `repository:team/app:pull,push`. */
export function scopeOf(repository: string, { push, deletes }: Pick<Purpose, 'push' | 'deletes'>): string {
  return `repository:${repository}:pull${push ? ',push' : ''}${deletes ? ',delete' : ''}`;
}

/** Parses WWW-Authenticate. Returns the strongest scheme that we support, or undefined. */
export function parseChallenge(header: string | undefined): Challenge | undefined {
  if (header === undefined) return undefined;
  const found: { name: string; values: Record<string, string> }[] = [];
  // A word alone is a scheme; the parameters after it are its own. Each match begins where the last one ended.
  const word = /[\s,]*([^\s,="]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/gy;
  for (const [, name = '', quoted, plain] of header.matchAll(word)) {
    const value = quoted?.replace(/\\(.)/g, '$1') ?? plain;
    const last = found.at(-1);
    if (value === undefined) found.push({ name: name.toLowerCase(), values: {} });
    else if (last !== undefined) last.values[name.toLowerCase()] = value;
  }
  for (const { name, values } of found) {
    const { realm, service, scope } = values;
    if (name === 'bearer' && realm !== undefined) return { scheme: 'bearer', realm, service, scope };
  }
  const basic = found.some(({ name }) => name === 'basic');
  return basic ? { scheme: 'basic' } : undefined;
}

function basicHeader(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}

interface Token {
  header: string;
  /** ms since the epoch */
  expires: number;
}

/** The parts that all requests of a call have in common. */
interface Net {
  insecure: boolean;
  idleMs: number;
  signal?: AbortSignal;
}

/**
 * The tokens of one client by registry (its URL's origin), scope and identity. They are kept until shortly before they
 * expire.
 */
export class Authorizer {
  readonly #pool: HttpPool;
  readonly #userAgent: string;
  readonly #challenges = new Map<string, Challenge>();
  readonly #tokens = new Map<string, Promise<Token>>();

  constructor(pool: HttpPool, userAgent: string) {
    this.#pool = pool;
    this.#userAgent = userAgent;
  }

  /** Remembers a registry's own challenge (not one of a host that it sent us to). */
  challenged({ origin }: URL, challenge: Challenge): void {
    this.#challenges.set(origin, challenge);
  }

  /** Forgets a token that was refused. */
  forget({ origin }: URL, scopes: readonly string[], credentials: RegistryCredentials | undefined): void {
    this.#tokens.delete(keyOf(origin, scopes, credentials));
  }

  /**
   * The Authorization header for a request to a registry; undefined when the registry has not asked for one or there
   * are no credentials. Throws `unauthenticated` or `unavailable` when the token server gives no token, `denied` when a
   * registry with TLS names a token server without TLS.
   */
  async header(
    purpose: Purpose,
    registry: URL,
    scopes: readonly string[],
    credentials: RegistryCredentials | undefined,
    net: Net,
  ): Promise<string | undefined> {
    if (credentials?.registryToken) return `Bearer ${credentials.registryToken}`;
    const challenge = this.#challenges.get(registry.origin);
    if (challenge === undefined) return undefined;
    if (challenge.scheme === 'basic') {
      const login = credentials?.login === undefined ? credentials : await credentials.login();
      if (login?.username === undefined || login.password === undefined) return undefined;
      return basicHeader(login.username, login.password);
    }
    const key = keyOf(registry.origin, scopes, credentials);
    const known = this.#tokens.get(key);
    if (known !== undefined) {
      const token = await known.catch(() => undefined);
      if (token !== undefined && token.expires > Date.now()) return token.header;
    }
    // Requests that start together share one token.
    let fresh = this.#tokens.get(key);
    if (fresh === undefined || fresh === known) {
      fresh = this.#fetch(purpose, registry, challenge, scopes, credentials, net);
      this.#tokens.set(key, fresh);
      fresh.catch(() => this.#tokens.get(key) === fresh && this.#tokens.delete(key));
    }
    return (await fresh).header;
  }

  async #fetch(
    purpose: Purpose,
    registry: URL,
    challenge: Extract<Challenge, { scheme: 'bearer' }>,
    scopes: readonly string[],
    credentials: RegistryCredentials | undefined,
    net: Net,
  ): Promise<Token> {
    let url: URL;
    try {
      url = new URL(challenge.realm);
      if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new Error(url.protocol);
    } catch (cause) {
      const realm = JSON.stringify(challenge.realm);
      throw fail(
        'unavailable',
        'registry',
        `the registry ${purpose.host} names a token server that is no URL: ${realm}`,
        { cause },
      );
    }
    const secret = hasCredentials(credentials);
    if (secret && url.protocol === 'http:' && registry.protocol === 'https:' && !net.insecure) {
      throw plainRealm(purpose, url);
    }
    const asking: Purpose = { ...purpose, doing: `${purpose.doing}: getting a token from ${url.host}` };
    const wanted = scopes.length > 0 ? scopes : challenge.scope === undefined ? [] : [challenge.scope];
    if (credentials?.tokens !== undefined) {
      return this.#fetchBy(credentials.tokens, asking, { ...challenge, scopes: wanted, signal: net.signal });
    }
    const { insecure, idleMs, signal } = net;
    const headers: Record<string, string> = { 'user-agent': this.#userAgent, accept: 'application/json' };
    const get = async () => {
      const at = new URL(url);
      if (challenge.service !== undefined) at.searchParams.set('service', challenge.service);
      for (const scope of wanted) at.searchParams.append('scope', scope);
      if (credentials?.username !== undefined && credentials.password !== undefined) {
        at.searchParams.set('account', credentials.username);
        headers.authorization = basicHeader(credentials.username, credentials.password);
      }
      return this.#pool.send({ method: 'GET', url: at, headers, insecure, idleMs, signal, secret });
    };
    const post = async (form: Record<string, string>) => {
      const data = new URLSearchParams({ ...form, client_id: 'drydock', scope: wanted.join(' ') });
      if (challenge.service !== undefined) data.set('service', challenge.service);
      const body = () => Buffer.from(data.toString());
      const type = { ...headers, 'content-type': 'application/x-www-form-urlencoded' };
      return this.#pool.send({ method: 'POST', url, headers: type, body, insecure, idleMs, signal, secret });
    };
    let response = credentials?.identityToken
      ? await post({ grant_type: 'refresh_token', refresh_token: credentials.identityToken })
      : await get();
    let text = (await readBody(response, 1 << 20)).toString('utf8');
    const status = response.statusCode ?? 0;
    if ((status === 404 || status === 405) && credentials?.username !== undefined && credentials.password) {
      // This token server supports only OAuth2.
      const { username, password } = credentials;
      response = await post({ grant_type: 'password', username, password });
      text = (await readBody(response, 1 << 20)).toString('utf8');
    }
    if (response.statusCode !== 200) {
      const refused = response.statusCode === 400 ? 401 : (response.statusCode ?? 0);
      throw statusError(asking, refused, text, credentials);
    }
    return parseToken(text, asking);
  }

  /** Has the client fetch a token itself. */
  async #fetchBy(source: TokenSource, purpose: Purpose, request: TokenRequest): Promise<Token> {
    try {
      const { token, expiresIn } = await source.fetch(request);
      return tokenOf(token, expiresIn, purpose);
    } catch (err) {
      if (!(err instanceof DrydockError) || err.code === 'canceled') throw err;
      throw new DrydockError(`${purpose.doing}: ${err.message}`, {
        code: err.code,
        hop: err.hop,
        hint: err.hint,
        cause: err,
        details: { registry: purpose.host, repository: purpose.repository },
      });
    }
  }
}

function plainRealm({ doing, host, repository }: Purpose, realm: URL): DrydockError {
  return fail(
    'denied',
    'registry',
    `${doing}: the registry ${host} names a token server without TLS, ${realm.origin}; it gets no credentials`,
    {
      hint: `Tell who runs ${host}, or name ${host} in --insecure-registry if the network between is trusted.`,
      details: { registry: host, repository },
    },
  );
}

function parseToken(text: string, purpose: Purpose): Token {
  let parsed: { token?: unknown; access_token?: unknown; expires_in?: unknown };
  try {
    parsed = JSON.parse(text) ?? {};
  } catch (cause) {
    throw new DrydockError(`${purpose.doing}: the answer is not JSON`, {
      code: 'unavailable',
      hop: 'registry',
      cause,
    });
  }
  const token = parsed.token ?? parsed.access_token;
  return tokenOf(token, parsed.expires_in, purpose);
}

function tokenOf(token: unknown, expiresIn: unknown, purpose: Purpose): Token {
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw fail('unavailable', 'registry', `${purpose.doing}: the answer holds no token`);
  }
  // A token lasts at least 60 s by the specification. It is renewed a little early so that it does not expire on the
  // way.
  const seconds = typeof expiresIn === 'number' ? Math.max(60, expiresIn) : 60;
  return { header: `Bearer ${token}`, expires: Date.now() + seconds * 900 };
}

function keyOf(
  origin: string,
  scopes: readonly string[],
  credentials: RegistryCredentials | undefined,
): string {
  const who =
    credentials === undefined
      ? ''
      : hash(
          'sha256',
          JSON.stringify([
            credentials.username,
            credentials.password,
            credentials.identityToken,
            credentials.tokens?.identity,
          ]),
        );
  return `${origin} ${scopes.join(' ')} ${who}`;
}
