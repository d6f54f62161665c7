/** The server's side of a call whose messages hold nothing but bytes, both ways, as a Node stream. */
import type { Http2ServerResponse, ServerHttp2Stream } from 'node:http2';
import { Duplex } from 'node:stream';
import { beginAnswer, endAnswer } from './answer.ts';
import { bytesIn, Deframer } from './frame.ts';
import { sendInFrames } from './send-bytes.ts';
import { OK, statusOf } from './status.ts';

/** The bytes in one message: few enough for every client's limit. */
const chunkSize = 1 << 20;

/** The bytes in the messages of both directions, with back-pressure in both. Destroying it ends the call. */
export class ServedBytesStream extends Duplex {
  readonly #call: ServerHttp2Stream;
  readonly #response: Http2ServerResponse;
  readonly #frames = new Deframer();
  #came: Uint8Array[] = [];
  #begun = false;
  /** Whether the client has ended its side. BuildKit's Go client misreads any message after that, and complains. */
  #over = false;
  readonly #out = {
    isOver: () => this.#over || this.destroyed || this.#call.closed || this.#call.destroyed,
    write: (frame: Buffer, taken: () => void) => void this.#response.write(frame, taken),
  };

  constructor(call: ServerHttp2Stream, response: Http2ServerResponse) {
    super({ allowHalfOpen: true });
    this.#call = call;
    this.#response = response;
    this.on('error', () => {}); // the call's status tells
  }

  /** Accepts the call and begins to read. */
  begin(): void {
    this.#begun = true;
    const call = this.#call;
    beginAnswer(this.#response);
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
        // The bytes of one turn of the event loop are passed on in one piece, since clients send a message for every
        // few bytes.
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
    sendInFrames(bytes, chunkSize, this.#out, done);
  }

  override _destroy(err: Error | null, done: (err: Error | null) => void): void {
    if (this.#begun && !this.#call.destroyed && !this.#response.writableEnded) {
      endAnswer(this.#response, err === null ? { code: OK, message: '' } : statusOf(err));
      this.#call.resume();
    }
    done(err);
  }
}
