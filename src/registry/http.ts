/**
 * One HTTP request over kept-alive connections, with redirects, an idle timeout and abort. It uses node:http, which is
 * as fast as fetch (measured with 200 MB): an agent for each registry carries its certificates, and bodies are Node
 * streams. The package undici (8.13) was tried: a download of 400 MB takes 0.19 to 0.31 s of CPU where node:http takes
 * 0.32 to 0.45 s, but loading it costs 27 ms of CPU and 970 KB, as much as everything else that a cached build loads.
 * Most builds ask a registry one small question.
 */
import type http from 'node:http';
import type https from 'node:https';
import { Readable } from 'node:stream';
import { canceled, fail } from '../errors/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';
import { type HostCertificates, readCertificates } from './certificates.ts';

export interface HttpRequest {
  method: string;
  url: URL;
  headers: Record<string, string>;
  /** Makes the body, anew for each try and each redirect. Streams need a `content-length` header. */
  body?: () => Promise<Readable | Uint8Array> | Readable | Uint8Array;
  signal?: AbortSignal;
  /** Do not check the server's certificate. */
  insecure: boolean;
  /** Give up after this many ms without a byte. */
  idleMs: number;
  /** CAs and our own certificates for the server, besides those that are known for its host. */
  certificates?: HostCertificates;
  /** Headers that are for this server alone: they do not follow a redirect to another. */
  own?: readonly string[];
  /** Present no client certificate, since the server is not the one that certificates are for. */
  anonymous?: boolean;
  /** The body is a secret: a redirect to another origin is refused. */
  secret?: boolean;
  /** Takes a redirect as the answer. */
  stay?: boolean;
}

export type HttpResponse = http.IncomingMessage & {
  /** The URL of the answer, after redirects. */
  finalUrl: URL;
};

const maxRedirects = 8;

// An `import` of these modules would run all their getters (fetch, WebSocket) and slow a start by 40 ms.
const plainHttp = () => process.getBuiltinModule('node:http');
const tlsHttp = () => process.getBuiltinModule('node:https');

/** Makes the agents of one client. Connections are kept for reuse and never keep the process alive. */
export class HttpPool {
  #plain: http.Agent | undefined;
  readonly #tls = new Map<string, https.Agent>();
  readonly #certificates: Readonly<Record<string, HostCertificates>>;

  constructor(certificates: Readonly<Record<string, HostCertificates>> = {}) {
    this.#certificates = certificates;
  }

  /** Ends idle connections. */
  close(): void {
    this.#plain?.destroy();
    for (const agent of this.#tls.values()) agent.destroy();
  }

  /**
   * Sends a request and follows redirects. Proofs of identity (Authorization, a client certificate) stay with the
   * origin that they are for: scheme, host and port. Rejects with the system's error when there is no answer, with
   * `denied` for a redirect that a secret must not follow, and with `canceled` on abort.
   */
  async send(request: HttpRequest): Promise<HttpResponse> {
    let { url, method, body, anonymous } = request;
    const headers = { ...request.headers };
    for (let hops = 0; ; hops++) {
      const response = await this.#once({ ...request, url, method, headers, body, anonymous });
      const location = response.headers.location;
      const status = response.statusCode ?? 0;
      const moved = status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
      if (!moved || location === undefined || request.stay) return Object.assign(response, { finalUrl: url });
      response.resume();
      if (hops === maxRedirects)
        throw new Error(`more than ${maxRedirects} redirects, last from ${url.origin}`);
      const next = new URL(location, url);
      if (next.protocol !== 'http:' && next.protocol !== 'https:') {
        throw new Error(`a redirect to ${next.protocol} was refused`);
      }
      if (next.origin !== url.origin) {
        if (request.secret) throw elsewhere(url, next);
        delete headers.authorization;
        for (const name of request.own ?? []) delete headers[name];
        anonymous = true;
      }
      if (status === 303 && method !== 'HEAD') {
        method = 'GET';
        body = undefined;
        delete headers['content-length'];
        delete headers['content-type'];
      }
      url = next;
    }
  }

  async #once(request: HttpRequest): Promise<http.IncomingMessage> {
    const { url, method, headers, signal } = request;
    if (signal?.aborted) throw canceled(signal.reason);
    const body = await request.body?.();
    // A thousand images may be asked for at once, and each new connection takes time.
    if (isDue()) await nextTurn();
    const tls = url.protocol === 'https:';
    return new Promise((resolve, reject) => {
      const options: https.RequestOptions = {
        method,
        headers: body instanceof Uint8Array ? { ...headers, 'content-length': body.length } : headers,
        agent: tls ? this.#agentFor(url.host, request) : this.#plainAgent(),
        timeout: request.idleMs,
      };
      const req = (tls ? tlsHttp() : plainHttp()).request(url, options);
      let res: http.IncomingMessage | undefined;
      const onAbort = () => {
        const reason = canceled(signal?.reason);
        // The body is destroyed first, so that its reader sees `canceled` and not a reset connection.
        res?.destroy(reason);
        req.destroy(reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const settled = () => signal?.removeEventListener('abort', onAbort);
      req.on('timeout', () => {
        // The reader is slow; the server is not silent.
        if (res !== undefined && res.readableLength > 0) return;
        const late = Object.assign(new Error(`no byte for ${Math.round(request.idleMs / 1000)} s`), {
          code: 'ETIMEDOUT',
        });
        res?.destroy(late);
        req.destroy(late);
      });
      req.on('error', (err) => {
        settled();
        if (body instanceof Readable) body.destroy();
        reject(err);
      });
      req.on('response', (response) => {
        res = response;
        response.once('close', settled);
        // A body that nobody reads any more may still break off.
        response.on('error', () => {});
        if (body instanceof Readable && !body.readableEnded) body.destroy();
        resolve(response);
      });
      if (body instanceof Readable) {
        body.on('error', (err) => req.destroy(err));
        body.pipe(req);
      } else req.end(body);
    });
  }

  #plainAgent(): http.Agent {
    // proxyEnv: HTTP_PROXY, HTTPS_PROXY and NO_PROXY count, as in docker.
    const options = { keepAlive: true, maxFreeSockets: 16, proxyEnv: process.env };
    this.#plain ??= new (plainHttp().Agent)(options);
    return this.#plain;
  }

  #agentFor(host: string, { insecure, anonymous = false, certificates }: HttpRequest): https.Agent {
    const named = `${host} ${insecure} ${anonymous} ${certificates === undefined ? '' : JSON.stringify(certificates)}`;
    let agent = this.#tls.get(named);
    if (agent === undefined) {
      const { ca, cert, key } = readCertificates(host, certificates ?? this.#certificates[host]);
      const { rootCertificates } = process.getBuiltinModule('node:tls');
      agent = new (tlsHttp().Agent)({
        keepAlive: true,
        maxFreeSockets: 16,
        rejectUnauthorized: !insecure,
        ca: ca.length > 0 ? [...rootCertificates, ...ca] : undefined,
        ...(anonymous ? {} : { cert, key }),
        proxyEnv: process.env,
      });
      this.#tls.set(named, agent);
    }
    return agent;
  }
}

function elsewhere(from: URL, to: URL): Error {
  return fail('denied', 'http', `${from.host} sends on to ${to.origin}: credentials do not follow there`, {
    hint: `Tell who runs ${from.host}: a token is asked for with a password, which is for ${from.origin} alone.`,
  });
}

/** Reads a whole small body. Rejects when it is longer than `max` bytes. */
export async function readBody(response: http.IncomingMessage, max: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response) {
    size += part.length;
    if (size > max) {
      response.destroy();
      throw new RangeError(`the answer is longer than ${max} bytes`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}
