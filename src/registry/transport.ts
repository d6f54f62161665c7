/** Requests to registries: scheme, authorization, retries with back-off. */
import { canceled, DrydockError, errnoCode, fail, throwIfAborted } from '../errors/index.ts';
import { orAbort, pause } from '../flow/index.ts';
import type { CredentialSource, RegistryCredentials } from '../oci/index.ts';
import { Authorizer, parseChallenge, scopeOf } from './auth.ts';
import type { HostCertificates } from './certificates.ts';
import { connectionError, isTlsCode, type Purpose, statusError } from './errors.ts';
import { endpointOf, isLocalHost } from './hosts.ts';
import type { HostServer } from './hosts-file.ts';
import { HttpPool, type HttpRequest, type HttpResponse, readBody } from './http.ts';
import { InsecureHosts } from './insecure.ts';

export interface TransportOptions {
  userAgent: string;
  /** `host[:port]`, or a network such as `192.168.1.0/24`. */
  insecure: readonly string[];
  certificates: Readonly<Record<string, HostCertificates>>;
  /** The number of tries after the first one. */
  retries: number;
  /** The first pause between tries, ms; doubled each time. */
  backoffMs: number;
  idleMs: number;
}

interface TransportCall {
  purpose: Purpose;
  /** The repository without its host, as in the URL; '' for the registry itself. */
  path: string;
  /** The registry whose copy a mirror is asked for. */
  namespace?: string;
  method: string;
  /** The path below `/v2/<path>/`, or a whole URL (an upload's place). */
  at: string | URL;
  headers?: Record<string, string>;
  body?: HttpRequest['body'];
  /** The statuses that are answers and not errors. */
  ok: readonly number[];
  /** Another repository that the call must be allowed to pull from (a mount). */
  alsoPull?: string;
  credentials?: CredentialSource;
  signal?: AbortSignal;
  /** The caller itself tries again (a stream that continues where it broke off). */
  once?: boolean;
}

const longestPause = 60_000;

/** Makes the requests of one client: chooses the scheme, proves who asks, and tries again. */
export class Transport {
  readonly options: TransportOptions;
  readonly #pool: HttpPool;
  readonly #auth: Authorizer;
  readonly #insecure: InsecureHosts;
  /** Servers that a file describes, by their names: a purpose has such a name in the place of a host. */
  readonly #servers = new Map<string, HostServer>();
  readonly #schemes = new Map<string, Promise<'http' | 'https'>>();
  /** Hosts that have answered before: a refused connection is then worth another try. */
  readonly #seen = new Set<string>();

  /** Throws `invalid` for an insecure registry that is no host. */
  constructor(options: TransportOptions) {
    this.options = options;
    this.#insecure = new InsecureHosts(options.insecure);
    this.#pool = new HttpPool(options.certificates);
    this.#auth = new Authorizer(this.#pool, options.userAgent);
  }

  /** Has calls for a host of this name go to the server. */
  learn(server: HostServer): void {
    this.#servers.set(server.name, server);
  }

  close(): void {
    this.#pool.close();
  }

  /**
   * Makes the call and returns an answer whose status is one of `ok`. Its body must be read or resumed. Throws
   * DrydockErrors.
   */
  async call(call: TransportCall): Promise<HttpResponse> {
    for (let attempt = 0; ; attempt++) {
      throwIfAborted(call.signal);
      let failure: DrydockError;
      let wait: number | undefined;
      try {
        const { response, credentials } = await this.#authorized(call);
        const status = response.statusCode ?? 0;
        if (call.ok.includes(status)) return response;
        const body = await readBody(response, 64 << 10).catch(() => Buffer.alloc(0));
        failure = statusError(call.purpose, status, body.toString('utf8'), credentials, response.finalUrl);
        if (status !== 408 && status !== 429 && status < 500) throw failure;
        if (status === 501 || status === 505) throw failure;
        wait = retryAfter(response.headers['retry-after']);
      } catch (err) {
        if (call.signal?.aborted) throw canceled(call.signal.reason);
        if (err instanceof DrydockError) throw err;
        failure = connectionError(call.purpose, err);
        if (!this.#worthRetry(call.purpose.host, err)) throw failure;
      }
      if (call.once || attempt >= this.options.retries) throw failure;
      if (wait !== undefined && wait > longestPause) throw failure;
      await this.pause(attempt, call.signal, wait);
    }
  }

  /** Waits before try `attempt + 1`: twice as long each time, with jitter so that clients do not all return at once. */
  async pause(attempt: number, signal: AbortSignal | undefined, atLeast = 0): Promise<void> {
    const ms = this.options.backoffMs * 2 ** attempt * (0.75 + Math.random() / 2);
    await pause(Math.max(Math.min(ms, 15_000), atLeast), signal);
  }

  #worthRetry(host: string, err: unknown): boolean {
    const code = errnoCode(err) ?? '';
    if (isTlsCode(code)) return false;
    if (code === 'ENOTFOUND' || code === 'ECONNREFUSED') return this.#seen.has(host);
    return true;
  }

  /** Makes one try, and a second one with authorization when the first is asked for it. */
  async #authorized(
    call: TransportCall,
  ): Promise<{ response: HttpResponse; credentials: RegistryCredentials | undefined }> {
    const { host } = call.purpose;
    const server = this.#servers.get(host);
    const net = {
      insecure: server?.skipVerify ?? (await orAbort(this.#insecure.has(host), call.signal)),
      certificates: server?.certificates,
      idleMs: this.options.idleMs,
      signal: call.signal,
    };
    const registry = new URL(server?.origin ?? `${await this.#scheme(host, net)}://${host}`);
    const url =
      call.at instanceof URL
        ? call.at
        : new URL(`${server?.base ?? '/v2'}/${call.path && `${call.path}/`}${call.at}`, registry);
    // containerd asks its mirrors in this way: https://github.com/containerd/containerd/blob/main/docs/hosts.md
    if (call.namespace !== undefined) url.searchParams.set('ns', call.namespace);
    // Credentials are for the registry's scheme, host and port. An upload's place or a layer's URL elsewhere (a bucket
    // with a signed URL, another port, no TLS) gets none.
    const ours = url.origin === registry.origin;
    const scopes = call.path === '' ? [] : [scopeOf(call.path, call.purpose)];
    if (call.alsoPull !== undefined) scopes.push(scopeOf(call.alsoPull, {}));
    // A client may take its time to answer, or never answer.
    const asked = ours
      ? call.credentials?.(endpointOf(server ? registry.host : host).credentialKey)
      : undefined;
    const credentials = asked && (await orAbort(asked, call.signal));
    for (let second = false; ; second = true) {
      const authorization = ours
        ? await this.#auth.header(call.purpose, registry, scopes, credentials, net)
        : undefined;
      const headers: Record<string, string> = {
        'user-agent': this.options.userAgent,
        'accept-encoding': 'identity',
        ...(ours ? server?.headers : {}),
        ...call.headers,
      };
      if (authorization !== undefined) headers.authorization = authorization;
      const { method, body } = call;
      const own = Object.keys(server?.headers ?? {});
      const response = await this.#pool.send({ method, url, headers, own, body, anonymous: !ours, ...net });
      this.#seen.add(host);
      // Another host that the registry sends us to gets no proof if it asks: it would choose where the password goes.
      const isOwn = response.finalUrl.origin === registry.origin;
      if (response.statusCode !== 401 || second || !isOwn) return { response, credentials };
      const challenge = parseChallenge(response.headers['www-authenticate']);
      if (challenge === undefined) return { response, credentials };
      this.#auth.challenged(registry, challenge);
      if (authorization !== undefined) this.#auth.forget(registry, scopes, credentials);
      if (
        challenge.scheme === 'basic' &&
        (authorization !== undefined || (credentials?.password === undefined && !credentials?.login))
      ) {
        return { response, credentials };
      }
      response.resume();
    }
  }

  /**
   * Finds out whether a host speaks http or https. Registries of this machine are spoken to plainly, as in docker,
   * unless they turn out to speak TLS; hosts named insecure are tried with TLS first.
   */
  #scheme(host: string, net: { insecure: boolean; signal?: AbortSignal }): Promise<'http' | 'https'> {
    const local = isLocalHost(host);
    if (!net.insecure && !local) return Promise.resolve('https');
    let known = this.#schemes.get(host);
    if (known === undefined) {
      known = this.#probe(host, local && !net.insecure ? 'http' : 'https', net.insecure);
      this.#schemes.set(host, known);
      known.catch(() => this.#schemes.delete(host));
    }
    // All callers share the probe; a caller that gives up only stops waiting for it.
    return orAbort(known, net.signal);
  }

  async #probe(host: string, first: 'http' | 'https', insecure: boolean): Promise<'http' | 'https'> {
    const ping = async (scheme: 'http' | 'https') => {
      const registry = new URL(`${scheme}://${host}`);
      const response = await this.#pool.send({
        method: 'GET',
        url: new URL('/v2/', registry),
        headers: { 'user-agent': this.options.userAgent },
        insecure,
        idleMs: Math.min(10_000, this.options.idleMs),
      });
      const body = (await readBody(response, 64 << 10)).toString('utf8');
      if (scheme === 'http' && response.statusCode === 400 && /HTTPS/i.test(body)) {
        throw fail('unavailable', 'registry', `${host} speaks TLS`);
      }
      const challenge = parseChallenge(response.headers['www-authenticate']);
      const own = response.finalUrl.origin === registry.origin;
      if (own && response.statusCode === 401 && challenge !== undefined) {
        this.#auth.challenged(registry, challenge);
      }
      return scheme;
    };
    try {
      return await ping(first);
    } catch (err) {
      // A refused or missing host is an error for the caller's own request to report.
      const code = errnoCode(err) ?? '';
      if (code === 'ECONNREFUSED' || code === 'ENOTFOUND') return first;
      const other = first === 'http' ? 'https' : 'http';
      return ping(other).catch((reason) => {
        if (reason instanceof DrydockError && reason.code === 'invalid') throw reason;
        // TLS with a bad certificate is still TLS; the request itself will report it.
        const why = errnoCode(reason) ?? '';
        const speaksTls = isTlsCode(why) && why !== 'EPROTO' && !why.startsWith('ERR_SSL_');
        return other === 'https' && speaksTls ? other : first;
      });
    }
  }
}

/** The ms of a Retry-After header (seconds or a date). */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}

/**
 * The purpose of a call, in words for its errors.
 *
 *     purposeOf('pushing sha256:…', 'docker.io', 'library/alpine', true) // host: registry-1.docker.io
 */
export function purposeOf(doing: string, domain: string, path: string, push = false): Purpose {
  return { doing, host: endpointOf(domain).host, repository: `${domain}/${path}`, push };
}
