/** A session whose bytes come and go as messages of a call: `moby.buildkit.v1.Control/Session`. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Stream } from 'node:http2';
import { Duplex } from 'node:stream';
import { bytesFrame, bytesIn, Deframer } from '../grpc/frame.ts';
import { encodeMessage, OK, statusOf } from '../grpc/status.ts';
import type { ClientSession } from './types.ts';

/** Bytes per message: few enough for every client's limit. */
const chunkSize = 1 << 20;

/**
 * Makes a session of a call that carries its HTTP/2 bytes both ways; the call is answered when the session is over on
 * either side, or when `signal` fires. `owner`: who calls (`identityKey`). Throws before anything is said, `invalid`
 * without an ID, `conflict` when the ID is in use.
 */
export function sessionOverCall(
  sessions: { accept(stream: Duplex, headers: IncomingHttpHeaders, owner?: string): ClientSession },
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  { signal, owner }: { signal?: AbortSignal; owner?: string } = {},
): ClientSession {
  const stream = new MessageStream(request.stream as ServerHttp2Stream, response);
  let session: ClientSession;
  try {
    session = sessions.accept(stream, request.headers, owner);
  } catch (err) {
    stream.destroy();
    throw err;
  }
  stream.begin();
  const end = () => stream.destroy();
  session.closed.addEventListener('abort', end, { once: true });
  signal?.addEventListener('abort', end, { once: true });
  stream.once('close', () => signal?.removeEventListener('abort', end));
  if (signal?.aborted) end();
  return session;
}

/** The bytes in the messages of both directions, with back-pressure in both. Destroying it ends the call. */
class MessageStream extends Duplex {
  readonly #call: ServerHttp2Stream;
  readonly #response: Http2ServerResponse;
  readonly #frames = new Deframer();
  #came: Uint8Array[] = [];
  #begun = false;
  /** The client has ended its side. BuildKit's Go client misreads whatever comes after that, and complains. */
  #over = false;

  constructor(call: ServerHttp2Stream, response: Http2ServerResponse) {
    super({ allowHalfOpen: true });
    this.#call = call;
    this.#response = response;
    this.on('error', () => {}); // the call's status tells
  }

  /** Says that the call is taken, and reads. */
  begin(): void {
    this.#begun = true;
    const call = this.#call;
    this.#response.writeHead(200, { 'content-type': 'application/grpc' });
    call.on('data', (chunk: Buffer) => this.#take(chunk));
    call.once('end', () => {
      this.#over = true;
      this.#flush();
      if (!this.destroyed) this.push(null);
    });
    call.once('close', () => this.destroy());
  }

  #take(chunk: Buffer): void {
    try {
      for (const message of this.#frames.push(chunk)) {
        const data = bytesIn(message);
        // What one turn of the event loop brings goes on in one piece: clients send a message for every few bytes.
        if (data.length > 0 && this.#came.push(data) === 1) setImmediate(() => this.#flush());
      }
    } catch (err) {
      this.destroy(err as Error);
    }
  }

  #flush(): void {
    const came = this.#came;
    if (came.length === 0 || this.destroyed) return;
    this.#came = [];
    if (!this.push(came.length === 1 ? came[0] : Buffer.concat(came))) this.#call.pause();
  }

  override _read(): void {
    if (this.#begun) this.#call.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.#send(chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  #send(bytes: Buffer, done: () => void): void {
    let rest = bytes;
    const next = () => {
      // A call that is over drops what is written; its end is told.
      const { closed, destroyed } = this.#call;
      if (rest.length === 0 || this.#over || this.destroyed || closed || destroyed) return done();
      const part = rest.subarray(0, chunkSize);
      rest = rest.subarray(part.length);
      this.#response.write(bytesFrame(part), next);
    };
    next();
  }

  override _destroy(err: Error | null, done: (err: Error | null) => void): void {
    if (this.#begun && !this.#call.destroyed && !this.#response.writableEnded) {
      const { code, message } = err === null ? { code: OK, message: '' } : statusOf(err);
      this.#response.addTrailers({ 'grpc-status': String(code), 'grpc-message': encodeMessage(message) });
      this.#response.end();
      this.#call.resume();
    }
    done(err);
  }
}
