/** A gRPC server on an existing connection: the one that we opened to a daemon, used in reverse. */
import { createServer, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { canceled, fail } from '../errors/index.ts';
import { answerHeaders, refuseCall, statusHeaders } from './answer.ts';
import { Deframer, frame } from './frame.ts';
import { takeConnection } from './http2-connection.ts';
import { type CallStatus, OK, statusOf, UNIMPLEMENTED } from './status.ts';
import { trailerRoom } from './trailer-room.ts';

/** One call in the view of its handler. */
export interface ServedCall {
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as they came (in `headers`, Node joins repeated ones). */
  readonly rawHeaders: readonly string[];
  readonly stream: ServerHttp2Stream;
  /** Resolves when the peer has ended its side; rejects with `canceled` when it breaks the call off. */
  readonly ended: Promise<void>;
  /** Fires when the call is over. */
  readonly signal: AbortSignal;
}

/** Handles a call. An error that it throws becomes the call's status. */
export type CallHandler = (call: ServedCall) => Promise<void>;

/** Serves gRPC calls on connections that are given to it. */
export class GrpcServer {
  readonly #server: Http2Server;

  /** `handlers` by path: `/moby.filesync.v1.FileSync/DiffCopy`. */
  constructor(handlers: ReadonlyMap<string, CallHandler>) {
    this.#server = createServer({
      settings: { initialWindowSize: 8 << 20, maxFrameSize: 1 << 20, maxHeaderListSize: 1 << 20 },
      maxHeaderListPairs: 100_000,
      maxSessionMemory: 256,
    });
    this.#server.on('session', (session) => {
      session.on('error', () => {}); // its calls tell
      session.setLocalWindowSize(16 << 20);
    });
    this.#server.on(
      'stream',
      (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _: number, rawHeaders: string[]) => {
        stream.on('error', () => {}); // the handler's signal tells
        const handler = handlers.get(String(headers[':path']));
        if (handler === undefined) refuseCall(stream, UNIMPLEMENTED, `unknown method ${headers[':path']}`);
        else void answer(stream, headers, rawHeaders, handler);
      },
    );
  }

  /** Speaks HTTP/2 on a connection until that is closed. */
  serve(connection: Duplex): void {
    connection.on('error', () => {});
    takeConnection(this.#server, connection);
  }
}

async function answer(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  handler: CallHandler,
): Promise<void> {
  const over = new AbortController();
  const ended = new Promise<void>((resolve, reject) => {
    stream.once('end', () => resolve());
    stream.once('close', () => {
      over.abort();
      reject(canceled('the call was broken off'));
    });
  });
  ended.catch(() => {}); // its readers get the error
  let status: CallStatus = { code: OK, message: '' };
  stream.respond(answerHeaders, { waitForTrailers: true });
  stream.once('wantTrailers', () => stream.sendTrailers(statusHeaders(status, trailerRoom(stream.session))));
  try {
    await handler({ headers, rawHeaders, stream, ended, signal: over.signal });
  } catch (err) {
    status = statusOf(err);
  }
  if (!stream.destroyed && !stream.writableEnded) stream.end();
  // The rest of the peer's bytes are not needed, but must be read for the call to end.
  stream.resume();
}

/** Answers a call that has one message each way. */
export function unary(work: (request: Uint8Array, call: ServedCall) => Promise<Uint8Array>): CallHandler {
  return async (call) => {
    const answer = await work(await requestOf(call), call);
    call.stream.write(frame(answer));
  };
}

/** The only message of a call. Throws `invalid` when there is none. Bytes after it are dropped. */
export function requestOf({ stream }: Pick<ServedCall, 'stream'>): Promise<Uint8Array> {
  const frames = new Deframer();
  return new Promise((resolve, reject) => {
    const over = () => reject(fail('invalid', 'session', 'the call came without a message'));
    stream.once('end', over);
    stream.once('close', over);
    stream.on('data', (chunk: Buffer) => {
      try {
        const [request] = frames.push(chunk);
        if (request !== undefined) resolve(request);
      } catch (err) {
        reject(err);
      }
    });
  });
}
