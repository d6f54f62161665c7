/** A call whose messages hold nothing but bytes (the services' `BytesMessage`s), as a Node stream. */
import { Duplex } from 'node:stream';
import type { GrpcCall } from './call.ts';
import { bytesIn, Deframer } from './frame.ts';
import { sendInFrames } from './send-bytes.ts';

/** Bytes per message: few enough for every receiver's limit. */
const chunkSize = 256 * 1024;

interface BytesStreamOptions {
  /** What a failed call is to those who read and write. */
  explain(err: unknown): Error;
  /** The peer ended well, but with this: it does not want the bytes, and that is fine. */
  fine?(err: unknown): boolean;
}

/**
 * The bytes of both directions, with back-pressure in both. Writing ends well only once the peer has ended the call
 * well; what it failed with fails the stream. A call's status comes after its bytes, so that one who only writes must
 * `resume()` it. Destroying it cancels the call.
 */
export class BytesStream extends Duplex {
  readonly #call: GrpcCall;
  readonly #options: BytesStreamOptions;
  readonly #frames = new Deframer();
  /** The peer wants no more: what is written goes nowhere. */
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
        for (const message of this.#frames.push(chunk)) {
          const data = bytesIn(message);
          if (data.length > 0 && !this.push(data)) stream.pause();
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
    // What has come but was not read yet goes first.
    const { stream } = this.#call;
    const end = () => this.push(null);
    if (stream.readableEnded || stream.destroyed) end();
    else stream.once('end', end);
  }

  override _read(): void {
    this.#call.stream.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (err?: Error | null) => void): void {
    this.#send(chunk, done);
  }

  /** Small writes that have piled up (a tar's headers) travel together. */
  override _writev(chunks: { chunk: Buffer }[], done: (err?: Error | null) => void): void {
    const [only] = chunks;
    this.#send(
      chunks.length === 1 && only !== undefined
        ? only.chunk
        : Buffer.concat(chunks.map(({ chunk }) => chunk)),
      done,
    );
  }

  #send(chunk: Buffer, done: (err?: Error | null) => void): void {
    sendInFrames(chunk, chunkSize, this.#out, done);
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
