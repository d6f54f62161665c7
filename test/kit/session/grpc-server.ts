/** A small gRPC server on one connection, written apart from Drydock's own gRPC code so that each checks the other. */
import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex } from 'node:stream';

/** A status that a handler ends its call with. */
export class Status extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** One call, as a handler sees it. */
export interface Call {
  method: string;
  headers: IncomingHttpHeaders;
  stream: ServerHttp2Stream;
  /** The client's messages. */
  messages: AsyncIterable<Buffer>;
  /** Sends a message; resolves when more may be sent. */
  send(message: Uint8Array): Promise<void>;
}

export type Handler = (call: Call) => Promise<void>;

export class GrpcServer {
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();
  /** Calls so far, in order. */
  readonly calls: { method: string; headers: IncomingHttpHeaders }[] = [];

  constructor(handlers: ReadonlyMap<string, Handler>, initialWindow?: number) {
    this.#server = createServer({
      settings: initialWindow === undefined ? {} : { initialWindowSize: initialWindow },
      maxHeaderListPairs: 5000,
      maxSessionMemory: 100,
    });
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      session.on('error', () => {});
      session.once('close', () => this.#sessions.delete(session));
    });
    this.#server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      const method = String(headers[':path']);
      this.calls.push({ method, headers });
      stream.on('error', () => {});
      const handler = handlers.get(method);
      if (handler === undefined) {
        stream.respond(
          {
            ':status': 200,
            'content-type': 'application/grpc',
            'grpc-status': '12',
            'grpc-message': `unknown method ${method}`,
          },
          { endStream: true },
        );
        stream.close(constants.NGHTTP2_NO_ERROR);
        return;
      }
      void answer(stream, method, headers, handler);
    });
  }

  /** Speaks HTTP/2 on a connection. */
  serve(connection: Duplex): void {
    connection.on('error', () => {});
    this.#server.emit('connection', connection);
  }

  /** Breaks all connections. */
  close(): void {
    for (const session of this.#sessions) session.destroy();
  }
}

async function answer(
  stream: ServerHttp2Stream,
  method: string,
  headers: IncomingHttpHeaders,
  handler: Handler,
): Promise<void> {
  let status = new Status(0, '');
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  // Whoever sends waits on its own for room.
  stream.setMaxListeners(0);
  stream.on('wantTrailers', () => {
    stream.sendTrailers({
      'grpc-status': String(status.code),
      'grpc-message': encodeURIComponent(status.message),
    });
  });
  const send = async (message: Uint8Array) => {
    if (stream.destroyed || stream.closed) throw new Status(1, 'the call is over');
    const frame = Buffer.alloc(5 + message.length);
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, 5);
    if (stream.write(frame)) return;
    await new Promise<void>((resolve) => {
      stream.once('drain', resolve);
      stream.once('close', resolve);
    });
  };
  try {
    await handler({ method, headers, stream, messages: messages(stream), send });
  } catch (err) {
    status = err instanceof Status ? err : new Status(2, err instanceof Error ? err.message : String(err));
  }
  if (!stream.destroyed) stream.end();
}

async function* messages(stream: ServerHttp2Stream): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    rest = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
    while (rest.length >= 5) {
      const length = rest.readUInt32BE(1);
      if (rest.length < 5 + length) break;
      yield rest.subarray(5, 5 + length);
      rest = rest.subarray(5 + length);
    }
  }
}
