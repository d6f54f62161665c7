/** A call whose messages hold nothing but bytes (the services' `BytesMessage`s), as a Node stream. */
import { Duplex } from 'node:stream';
import { BytesReader } from './bytes-reader.ts';
import type { GrpcCall } from './call.ts';
import { sendInFrames } from './send-bytes.ts';

/** The bytes in one message: few enough for every receiver's limit. */
const chunkSize = 256 * 1024;

interface BytesStreamOptions {
  /** Turns a failed call's error into the one for readers and writers. */
  explain(err: unknown): Error;
  /** Whether an error only says that the peer does not want the bytes, which is a good end. */
  fine?(err: unknown): boolean;
}

/**
 * The bytes of both directions, with back-pressure in both. Writing ends well only when the peer has ended the call
 * well; the call's error becomes the stream's. A call's status comes after its bytes, so a caller that only writes must
 * `resume()` the stream. Destroying it cancels the call.
 */
export class BytesStream extends Duplex {
  readonly #call: GrpcCall;
  readonly #options: BytesStreamOptions;
  readonly #reader = new BytesReader();
  /** The peer wants no more bytes; further writes are dropped. */
  #unwanted = false;
  readonly #out = {
    isOver: () => {
      const { closed, destroyed, writableEnded } = this.#call.stream;
      return this.#unwanted || this.destroyed || closed || destroyed || writableEnded;
    },
    write: (frame: Buffer, taken: () => void) => void this.#call.stream.write(frame, taken),
  };

  constructor(call: GrpcCall, options: BytesStreamOptions) {
    super({ allowHalfOpen: true });
    this.#call = call;
    this.#options = options;
    const { stream } = call;
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const part of this.#reader.push(chunk)) {
          if (!this.push(part)) stream.pause();
        }
      } catch (err) {
        this.destroy(err as Error);
      }
    });
    stream.pause();
    call.status.then(
      () => this.#ended(),
      (err) => {
        if (options.fine?.(err)) {
          this.#unwanted = true;
          this.#ended();
        } else this.destroy(options.explain(err));
      },
    );
  }

  #ended(): void {
    if (this.destroyed || this.readableEnded) return;
    // Bytes that have come and were not read yet go first.
    const { stream } = this.#call;
    const end = () => this.push(null);
    if (stream.readableEnded || stream.destroyed) end();
    else stream.once('end', end);
  }

  override _read(): void {
    this.#call.stream.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (err?: Error | null) => void): void {
    sendInFrames([chunk], chunkSize, this.#out, done);
  }

  /** Small writes that have piled up (a tar's headers) are sent together. */
  override _writev(chunks: { chunk: Buffer }[], done: (err?: Error | null) => void): void {
    sendInFrames(
      chunks.map(({ chunk }) => chunk),
      chunkSize,
      this.#out,
      done,
    );
  }

  override _final(done: (err?: Error | null) => void): void {
    const { stream, status } = this.#call;
    if (!stream.closed && !stream.destroyed) stream.end();
    status.then(
      () => done(),
      (err) => done(this.#options.fine?.(err) ? null : this.#options.explain(err)),
    );
  }

  override _destroy(err: Error | null, done: (err?: Error | null) => void): void {
    this.#call.cancel();
    done(err);
  }
}
