/** Serves accepted connections: docker's API in HTTP/1.1 and BuildKit's in HTTP/2, told apart by their first bytes. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AdmitCall,
  type ApiHost,
  bodyEndedEarly,
  continueWhenRead,
  type DockerApi,
  type GrpcAcceptor,
  pathForLogs,
  type UiApi,
} from '../api/index.ts';
import type { Listener } from '../auth/index.ts';
import { http2Limits, limitSettings, refuseCall, takeConnection, UNIMPLEMENTED } from '../grpc/index.ts';
import type { Metrics } from './metrics.ts';
import { sniff } from './sniff.ts';

/** The largest head of a request. Go's servers, for which clients were written, take as much. */
const maxHeaderSize = 1 << 20;

/** The most connections on which nobody was let in yet. */
const maxStrangers = 256;

interface ConnectionsOptions {
  host: ApiHost;
  docker: DockerApi;
  ui: UiApi;
  grpc?: GrpcAcceptor;
  metrics: Metrics;
}

/**
 * The connections of a daemon. Each comes in by its listener, is sniffed, and is served until it ends; `settle` and
 * `destroy` end them when the daemon stops.
 */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #http: Server;
  readonly #http2: Http2Server;
  readonly #sockets = new Set<Socket>();
  /** The connections on which nobody was let in yet, oldest first. */
  readonly #strangers = new Set<Socket>();
  readonly #listeners: WeakMap<object, Listener>;
  /** The requests that are being answered, without those that go on until their client goes away. */
  readonly #active = new Set<IncomingMessage>();
  /** The exchange that is being answered on a connection. */
  readonly #current = new WeakMap<object, Exchange>();
  readonly #requestIds = new WeakMap<object, string>();
  #closing = false;
  /** The most connections in all; the rest of the files that this process may have open is for builds. */
  readonly #most = Math.floor(openFilesLimit() / 2);

  /** `listeners` gets what is known of each connection; requests find it by their socket. */
  constructor(options: ConnectionsOptions, listeners: WeakMap<object, Listener>) {
    this.#options = options;
    this.#listeners = listeners;
    const { docker } = options;
    this.#http = createServer({
      maxHeaderSize,
      keepAliveTimeout: 0,
      // An upload takes as long as it takes.
      requestTimeout: 0,
      headersTimeout: 30_000,
      connectionsCheckingInterval: 5_000,
      shouldUpgradeCallback: (request) => docker.wantsUpgrade(request),
    });
    this.#http.on('request', (request, response) => this.#answer(request, response));
    this.#http.on('checkContinue', (request, response) => {
      // Without its body the request has no end: nothing may follow it.
      response.shouldKeepAlive = false;
      continueWhenRead(request, response);
      this.#answer(request, response);
    });
    this.#http.on('upgrade', (request, socket, head) => {
      this.#note(request);
      if (socket instanceof Socket) socket.allowHalfOpen = false;
      docker.upgrade(request, socket, head);
    });
    this.#http.on('clientError', (err, socket) => {
      if (!socket.writable) return void socket.destroy();
      const current = this.#current.get(socket);
      if (current !== undefined) return endAfter(current, socket);
      const body = `${JSON.stringify({ message: `the request is not HTTP: ${err.message}` })}\n`;
      socket.end(
        `HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    });
    // It listens nowhere itself; this starts its watch over headers that do not come.
    this.#http.emit('listening');
    this.#http2 = refusingServer();
  }

  /** How many connections are open. */
  get size(): number {
    return this.#sockets.size;
  }

  accept(socket: Socket, listener: Listener): void {
    // A step that may ask the host must not ask the daemon.
    if (this.#options.host.engine.network.isStep(socket.remoteAddress ?? '')) {
      socket.destroy();
      return;
    }
    if (!this.#hasRoom()) return void socket.destroy();
    this.#sockets.add(socket);
    this.#strangers.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#strangers.delete(socket);
    });
    this.#listeners.set(socket, listener);
    this.#options.metrics.count('drydock_connections_total', 'Connections accepted.', {
      listener: listener.kind,
    });
    sniff(socket, (protocol) => {
      if (protocol === 'http/1.1') {
        // A client that ends its side in the middle of an upload is still to read what we say to that.
        socket.allowHalfOpen = true;
        this.#http.emit('connection', socket);
        socket.resume();
      } else if (this.#options.grpc === undefined) takeConnection(this.#http2, socket);
      else {
        const { host, grpc } = this.#options;
        const admit: AdmitCall = (headers, ask) => host.admit({ socket, headers }, ask);
        grpc.accept(socket, admit);
      }
    });
  }

  /** Says that somebody was let in on a connection; it is then not cut off for others any more. */
  admitted(socket: Socket): void {
    this.#strangers.delete(socket);
  }

  /**
   * Makes room for one more connection: cuts off the oldest one on which nobody was let in. False: somebody was let in
   * on all.
   */
  #hasRoom(): boolean {
    if (this.#strangers.size < maxStrangers && this.#sockets.size < this.#most) return true;
    const [oldest] = this.#strangers;
    this.#options.metrics.count(
      'drydock_connections_cut_total',
      'Connections that were cut off because there were too many.',
    );
    if (oldest === undefined) return false;
    this.#strangers.delete(oldest);
    oldest.destroy();
    return true;
  }

  /**
   * Waits until the requests under way are answered, or `signal` fires. From now on, connections close after their
   * answer.
   */
  async settle(signal: AbortSignal): Promise<void> {
    this.#closing = true;
    this.#http.closeIdleConnections();
    while (this.#active.size > 0 && !signal.aborted) await sleep(20);
    this.#http.closeIdleConnections();
  }

  /** Cuts off all connections that are left. */
  destroy(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#http.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { docker, ui, host, metrics } = this.#options;
    const startedAt = performance.now();
    const { method = '', url = '' } = request;
    const id = this.#note(request);
    const path = pathForLogs(url);
    response.setHeader('X-Request-Id', id);
    if (this.#closing) response.shouldKeepAlive = false;
    if (path !== '/events' && !ui.isStream(url)) this.#active.add(request);
    const { socket } = request;
    this.#current.set(socket, { request, response });
    response.once('close', () => {
      if (this.#current.get(socket)?.request === request) this.#current.delete(socket);
      this.#active.delete(request);
      const seconds = (performance.now() - startedAt) / 1000;
      const status = response.headersSent ? response.statusCode : 0;
      metrics.count('drydock_http_requests_total', 'Requests answered; code 0: the client went away.', {
        method,
        code: status,
      });
      host.log('debug', 'request', { request: id, method, path, status, ms: Math.round(seconds * 1000) });
    });
    if (ui.takes(url)) ui.handle(request, response);
    else docker.handle(request, response);
  }

  /** The ID of a request in the logs. */
  requestIdOf(request: object): string | undefined {
    return this.#requestIds.get(request);
  }

  #note(request: IncomingMessage): string {
    const id = randomUUID();
    this.#requestIds.set(request, id);
    return id;
  }
}

/** How many files this process may have open. */
function openFilesLimit(): number {
  const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  return found === null ? 1024 : Number(found[1]);
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
}

/**
 * Makes an answer the last thing on its connection: the request's body has ended in the middle, or is no HTTP any more.
 */
function endAfter({ request, response }: Exchange, socket: Duplex): void {
  if (!bodyEndedEarly(request) && !response.writableEnded) return void socket.destroy();
  if (response.writableFinished) return void socket.end();
  response.once('finish', () => socket.end());
}

/** A server that answers every gRPC call with UNIMPLEMENTED and a reason, rather than with a broken connection. */
function refusingServer(): Http2Server {
  const server = createHttp2Server(http2Limits);
  limitSettings(server);
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    if (String(headers['content-type'] ?? '').startsWith('application/grpc')) {
      return refuseCall(stream, UNIMPLEMENTED, "this daemon does not serve BuildKit's API");
    }
    stream.respond({ ':status': 505, 'content-type': 'application/json' });
    stream.end('{"message":"docker\'s API is spoken in HTTP/1.1 here"}\n');
  });
  server.on('sessionError', () => {});
  return server;
}
