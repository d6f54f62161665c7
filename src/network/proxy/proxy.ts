/**
 * The proxy of one step: an HTTP proxy (RFC 9110, sections 7.6 and 9.3.6) on a socket in the step's namespace, which has
 * no other way out. It answers for servers of TLS with certificates of its own authority, so that it sees what is asked.
 */
import { createHash } from 'node:crypto';
import {
  createServer,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import type { Duplex } from 'node:stream';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { getCACertificates, TLSSocket } from 'node:tls';
import { errnoCode } from '../../errors/index.ts';
import type { Authority } from './authority.ts';
import type { Capture } from './capture.ts';
import { checkAddress, checkedLookup, checkName, type Gate, reachedByStep } from './gate.ts';
import type { Upstream } from './upstream.ts';

export interface ProxyOptions {
  authority: Authority;
  capture: Capture;
  gate: Gate;
  /** Certificates, as PEM, that servers are trusted by besides the usual ones. */
  trusted: readonly string[];
  /** Returns the URL to ask in the place of one. Throws for one that the build may not have. */
  check(url: string, method: string): Promise<string>;
  /** The proxy to ask a URL by; undefined: it is asked directly. Default: all are. */
  upstream?(url: URL): Upstream | undefined;
}

/** Headers that are for one connection only. */
const hopByHop = [
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te'],
  ...['trailer', 'transfer-encoding', 'upgrade'],
];
const mostConnections = 256;

/** The connections to servers, kept for the next request. */
interface Agents {
  http: HttpAgent;
  https: HttpsAgent;
}

/** Serves a step until it is closed. */
export class StepProxy {
  readonly #options: ProxyOptions;
  readonly #server: Server;
  /** Serves the requests in tunnels; it never listens itself. */
  readonly #inner: Server;
  readonly #sockets = new Set<Duplex>();
  /** The server at the far end of a tunnel, by the tunnel's socket: `host:port`. */
  readonly #tunnels = new WeakMap<object, string>();
  readonly #direct: Agents;
  /** Those that ask by another proxy, by its URL. */
  readonly #byProxy = new Map<string, Agents>();

  /** Takes over the descriptor of a socket that listens. */
  constructor(fd: number, options: ProxyOptions) {
    this.#options = options;
    this.#direct = this.#agents({ lookup: checkedLookup(options.gate) });
    this.#inner = createServer({ requestTimeout: 0 }, (request, response) => {
      const server = this.#tunnels.get(request.socket);
      void this.#answer(request, response, `https://${server}${request.url}`);
    });
    this.#server = createServer({ requestTimeout: 0 }, (request, response) => {
      const { url = '', headers } = request;
      void this.#answer(request, response, /^http:\/\//i.test(url) ? url : `http://${headers.host}${url}`);
    });
    this.#server.maxConnections = mostConnections;
    this.#server.on('connection', (socket) => this.#hold(socket));
    this.#server.on('connect', (request, socket) => this.#tunnel(request.url ?? '', socket));
    this.#server.on('error', () => {});
    this.#server.listen({ fd });
    this.#server.unref();
  }

  #agents(options: { lookup?: LookupFunction; proxyEnv?: NodeJS.ProcessEnv }): Agents {
    const ca = [...usualAuthorities(), ...this.#options.trusted];
    return {
      http: new HttpAgent({ keepAlive: true, ...options }),
      https: new HttpsAgent({ keepAlive: true, ca, ...options }),
    };
  }

  #hold(socket: Duplex): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Takes a tunnel for TLS: nothing else is spoken in one. */
  #tunnel(server: string, socket: Duplex): void {
    const host = server.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
    if (!/^[\w.:-]+$/.test(host)) return void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    this.#hold(socket);
    socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
    const tls = new TLSSocket(socket as ConstructorParameters<typeof TLSSocket>[0], {
      isServer: true,
      secureContext: this.#options.authority.contextFor(host),
      ALPNProtocols: ['http/1.1'],
    });
    this.#hold(tls);
    this.#tunnels.set(tls, /^[^:]+:443$|\]:443$/.test(server) ? server.slice(0, -4) : server);
    this.#inner.emit('connection', tls);
  }

  async #answer(request: IncomingMessage, response: ServerResponse, asked: string): Promise<void> {
    const { method = 'GET' } = request;
    const { capture, check, gate } = this.#options;
    response.on('error', () => {});
    let url: URL;
    try {
      const found = new URL(await check(new URL(asked).href, method));
      if (found.protocol !== 'http:' && found.protocol !== 'https:') throw new Error('no http');
      url = found;
    } catch (err) {
      capture.request(method, asked, 403);
      request.resume();
      response.writeHead(403, { 'content-type': 'text/plain', connection: 'close' });
      response.end(`${err instanceof Error ? err.message : 'Forbidden'}\n`);
      return;
    }
    const failed = (err: Error) => {
      capture.request(method, asked, 502);
      capture.incomplete(method, asked, 'upstream_error');
      if (response.headersSent) response.destroy();
      else response.writeHead(502, { 'content-type': 'text/plain' }).end(`${reasonOf(err)}\n`);
    };
    try {
      // A look-up is made of names alone.
      if (isIP(hostOf(url)) !== 0) checkAddress(hostOf(url), gate);
      const upstream = this.#ask(url, method, request, await this.#agentsFor(url));
      upstream.on('error', failed);
      upstream.once('response', (answer) => void this.#pass({ method, asked, request, response }, answer));
      await pipeline(request, upstream).catch(() => upstream.destroy());
    } catch (err) {
      failed(err as Error);
    }
  }

  /** The connections by which a URL is asked. Throws for one that the step must not reach. */
  async #agentsFor(asked: URL): Promise<Agents> {
    const { gate, upstream: find } = this.#options;
    // The names in the step's /etc/hosts are known here alone.
    const isListed = gate.hosts.some(({ host }) => host.toLowerCase() === hostOf(asked).toLowerCase());
    const upstream = isListed ? undefined : find?.(asked);
    if (upstream === undefined) return this.#direct;
    if (isIP(hostOf(asked)) === 0) await checkName(hostOf(asked), gate);
    const known = this.#byProxy.get(upstream.url);
    if (known !== undefined) return known;
    const url = upstream.isOwn ? await reachedByStep(upstream.url, gate) : upstream.url;
    const agents = this.#agents({ proxyEnv: { HTTP_PROXY: url, HTTPS_PROXY: url } });
    this.#byProxy.set(upstream.url, agents);
    return agents;
  }

  #ask(url: URL, method: string, { headers }: IncomingMessage, agents: Agents) {
    const kept = Object.fromEntries(Object.entries(headers).filter(([name]) => !hopByHop.includes(name)));
    // The content is noted as it is, not as one client likes it packed.
    delete kept['accept-encoding'];
    const common = { method, headers: { ...kept, host: url.host } };
    return url.protocol === 'https:'
      ? httpsRequest(url, { ...common, agent: agents.https })
      : httpRequest(url, { ...common, agent: agents.http });
  }

  async #pass(
    at: { method: string; asked: string; request: IncomingMessage; response: ServerResponse },
    answer: IncomingMessage,
  ): Promise<void> {
    const { method, asked, request, response } = at;
    const { capture } = this.#options;
    const { statusCode: status = 502, headers } = answer;
    capture.request(method, asked, status, headers.location);
    const sent = Object.fromEntries(Object.entries(headers).filter(([name]) => !hopByHop.includes(name)));
    response.writeHead(status, sent);
    const hash = createHash('sha256');
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        done(null, chunk);
      },
    });
    let isWhole = true;
    try {
      await pipeline(answer, meter, response);
    } catch {
      isWhole = false;
      response.destroy();
    }
    const reason = incompleteReason(method, status, request.headers.range, isWhole && answer.complete);
    if (reason !== undefined) capture.incomplete(method, asked, reason);
    else if (status >= 200 && status < 300) capture.material(asked, `sha256:${hash.digest('hex')}`);
  }

  close(): void {
    this.#server.close();
    this.#inner.close();
    for (const socket of this.#sockets) socket.destroy();
    for (const { http, https } of [this.#direct, ...this.#byProxy.values()]) {
      http.destroy();
      https.destroy();
    }
  }
}

/** Why there is no answer, in words for the step. What Node says of another proxy has that one's password in it. */
function reasonOf(err: Error): string {
  if (!/^ERR_PROXY/.test(errnoCode(err) ?? '')) return err.message;
  const status = /HTTP\/1\.\d (\d{3})/.exec(err.message)?.[1];
  return `the proxy of this network did not connect${status === undefined ? '' : ` (${status})`}`;
}

/** The host of a URL; an address of IPv6 without its brackets. */
function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

/** Why an answer is no material that a digest can stand for; undefined when it is one, or has none to give. */
function incompleteReason(
  method: string,
  status: number,
  range: string | undefined,
  isWhole: boolean,
): string | undefined {
  if (method === 'HEAD' && status < 400) return undefined;
  if (method !== 'GET') return 'method_not_materializable';
  if (range !== undefined || status === 206) return 'partial_response';
  if (!isWhole) return 'body_read_failed';
  return status >= 400 ? 'unsuccessful_response' : undefined;
}

/** The authorities of Node and of this machine. */
function usualAuthorities(): string[] {
  return [...new Set([...getCACertificates('default'), ...getCACertificates('system')])];
}
