/** A gRPC client over an existing connection: the one that a client opened, used in reverse. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import type { Duplex } from 'node:stream';
import { canceled } from '../errors/index.ts';
import { ConnectionLost, GrpcCall } from './call.ts';

/** Keys (lower case) with their values. */
export type Metadata = Record<string, string | readonly string[]>;

export interface CallOptions {
  metadata?: Metadata;
  signal?: AbortSignal;
}

/**
 * The bytes that a peer may send ahead, for one call and for all together. On this machine they would only wait here,
 * and chunks that wait are dear to V8 (workers/large-stream.ts); a peer that comes by ssh has a window of 2 MB there, too.
 */
const windows = {
  far: { call: 8 << 20, connection: 16 << 20 },
  near: { call: 2 << 20, connection: 8 << 20 },
};

const http2Settings = {
  enablePush: false,
  maxFrameSize: 1 << 20,
  maxHeaderListSize: 1 << 20,
} as const;

interface ChannelOptions {
  /** Whether the peer is on this machine; default: no. */
  near?: boolean;
  /** How long a peer may take to send its first byte, ms. */
  helloMs?: number;
  /** While calls are open: how often to ask whether the peer is alive, and how long it may take to answer, ms. */
  pingMs?: number;
}

/** The client's end of one connection: it starts calls, and notices when the peer is gone. */
export class GrpcChannel {
  /** Resolves when the connection is over, with the reason. Never rejects. */
  readonly closed: Promise<ConnectionLost>;
  readonly #session: ClientHttp2Session;
  readonly #hello: Promise<void>;
  readonly #options: Required<ChannelOptions>;
  #lost: ConnectionLost | undefined;
  #calls = 0;
  /** The time on performance.now()'s clock until which the peer's first byte is awaited. */
  #deadline: number | undefined;
  #pinging: NodeJS.Timeout | undefined;

  constructor(socket: Duplex, options: ChannelOptions = {}) {
    this.#options = { near: false, helloMs: 10_000, pingMs: 10_000, ...options };
    const window = this.#options.near ? windows.near : windows.far;
    let reason: string | undefined;
    socket.on('error', (err) => {
      reason ??= err.message;
    });
    const session = connect('http://localhost', {
      createConnection: () => socket,
      settings: { ...http2Settings, initialWindowSize: window.call },
      maxSessionMemory: 256,
      maxSendHeaderBlockLength: 1 << 20,
    });
    this.#session = session;
    session.on('error', (err) => {
      reason ??= err.message;
    });
    session.once('connect', () => {
      if (!session.destroyed) session.setLocalWindowSize(window.connection);
    });
    this.closed = new Promise((resolve) => {
      const over = () => {
        if (this.#lost !== undefined) return;
        this.#lost = new ConnectionLost(reason ?? 'the connection was closed');
        clearInterval(this.#pinging);
        resolve(this.#lost);
        session.destroy();
      };
      session.once('close', over);
      socket.once('close', over);
      // A socket that may stay half open is not closed when its peer ends.
      socket.once('end', over);
      if (socket.destroyed) over();
    });
    this.#hello = new Promise((resolve, reject) => {
      session.once('remoteSettings', () => resolve());
      void this.closed.then(reject);
    });
    this.#hello.catch(() => {}); // `ready` throws it
  }

  /** The reason why no call can be made any more; undefined while calls can be made. */
  get lost(): ConnectionLost | undefined {
    return this.#lost;
  }

  /** Ends the connection and all calls on it. */
  close(): void {
    this.#session.destroy();
  }

  /**
   * Resolves when the peer has spoken HTTP/2. Rejects with ConnectionLost when it has not within `helloMs` of the first
   * call.
   */
  async ready(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    this.#deadline ??= performance.now() + this.#options.helloMs;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const wait = Math.max(0, this.#deadline! - performance.now());
      timer = setTimeout(() => reject(new ConnectionLost('it does not answer')), wait);
    });
    try {
      await Promise.race([this.#hello, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Starts a call. Failures are told by the call's `status`. */
  async open(path: string, { metadata, signal }: CallOptions = {}): Promise<GrpcCall> {
    await this.ready();
    if (signal?.aborted) throw canceled(signal.reason);
    if (this.#lost !== undefined || this.#session.closed)
      throw this.#lost ?? new ConnectionLost('it is closing');
    const stream = this.#session.request(
      {
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
        'user-agent': 'drydock',
        ...(metadata as Record<string, string | string[]> | undefined),
      },
      { endStream: false },
    );
    this.#watch(stream);
    return new GrpcCall(stream, () => this.#lost, signal);
  }

  /** Sends one message and returns the answer. Rejects with GrpcError, ConnectionLost or `canceled`. */
  async unary(path: string, request: Uint8Array, options: CallOptions = {}): Promise<Uint8Array> {
    const call = await this.open(path, options);
    return call.exchange(request);
  }

  /** Asks now and then whether the peer is alive, as long as a call is open. */
  #watch(stream: ClientHttp2Stream): void {
    this.#calls++;
    this.#pinging ??= setInterval(() => this.#ping(), this.#options.pingMs).unref();
    stream.once('close', () => {
      if (--this.#calls > 0) return;
      clearInterval(this.#pinging);
      this.#pinging = undefined;
    });
  }

  #ping(): void {
    if (this.#session.destroyed) return;
    const late = setTimeout(
      () => this.#session.destroy(new Error('the peer stopped answering')),
      this.#options.pingMs * 2,
    ).unref();
    try {
      this.#session.ping(() => clearTimeout(late));
    } catch {
      // There are too many pings under way; the oldest of them decides.
      clearTimeout(late);
    }
  }
}
