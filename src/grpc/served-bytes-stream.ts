/**
 * The server's side of a call whose messages hold nothing but the bytes of an HTTP/2 connection, both ways, as a Node
 * stream.
 */
import type { Http2ServerResponse, ServerHttp2Stream } from 'node:http2';
import { Duplex } from 'node:stream';
import { Pace } from '../flow/index.ts';
import { beginAnswer, endAnswer } from './answer.ts';
import { BytesReader } from './bytes-reader.ts';
import { DataJoiner, isControl } from './joined-data.ts';
import { sendInFrames } from './send-bytes.ts';
import { OK, statusOf } from './status.ts';

/**
 * The bytes in one message: few enough for every client's limit. A client passes a message on when it has all of it, and
 * only then are there bytes that it can take and make room for.
 */
const chunkSize = 256 << 10;

/** The bytes that are joined to one piece at most, and the memory for them that is taken at first. */
const mostJoined = 256 << 10;
const smallestJoined = 64 << 10;
/** The time between two pieces of many, in ms. */
const gapMs = 2;

/**
 * The bytes in the messages of both directions, whose incoming DATA frames are joined, with back-pressure in both. Destroying it ends the call. Whoever listens
 * to `data` has a piece's memory for the time of the event alone: HTTP/2 on top of it copies it.
 */
export class ServedBytesStream extends Duplex {
  readonly #call: ServerHttp2Stream;
  readonly #response: Http2ServerResponse;
  readonly #reader = new BytesReader();
  readonly #joiner = new DataJoiner();
  readonly #pace = new Pace(gapMs);
  /** The bytes of this turn of the event loop, and of some ms where many come. */
  #came: Uint8Array[] = [];
  #size = 0;
  /** Whether they are passed on at the end of this turn. */
  #isSoon = false;
  /** Memory in which they are joined. */
  #joined: Buffer | undefined;
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
      for (const part of this.#reader.push(chunk)) {
        const isFirst = this.#came.push(part) === 1;
        this.#size += part.length;
        // They are passed on in one piece, since clients send a message for every few bytes.
        if (isControl(part)) this.#flushSoon();
        else if (isFirst) this.#pace.next(() => this.#flush());
        if (this.#size >= mostJoined) this.#flush();
      }
    } catch (err) {
      this.destroy(err as Error);
    }
  }

  /** Passes on at the end of this turn, however much comes: our side may be waiting for just that. */
  #flushSoon(): void {
    if (this.#isSoon) return;
    this.#isSoon = true;
    setImmediate(() => {
      this.#isSoon = false;
      this.#flush();
    });
  }

  #flush(): void {
    const came = this.#came;
    const size = this.#size;
    if (size === 0 || this.destroyed) return;
    this.#came = [];
    this.#size = 0;
    const joined = this.#join(came, size);
    // No frame's head may be whole yet.
    if (joined.length > 0 && !this.push(joined)) this.#call.pause();
    // A reader that listens has copied the bytes by now, as Node's HTTP/2 does; else they wait, and stay as they are.
    if (this.readableLength > 0) this.#joined = undefined;
  }

  /** Joins parts in memory that is used again: memory for each would be cleared away at great cost. */
  #join(parts: readonly Uint8Array[], size: number): Buffer {
    const room = DataJoiner.room(parts.length, size);
    if (this.#joined === undefined || this.#joined.length < room) {
      this.#joined = Buffer.allocUnsafeSlow(Math.max(room, smallestJoined));
    }
    return this.#joined.subarray(0, this.#joiner.join(parts, this.#joined));
  }

  override _read(): void {
    if (this.#begun) this.#call.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    sendInFrames([chunk], chunkSize, this.#out, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    sendInFrames(
      chunks.map(({ chunk }) => chunk),
      chunkSize,
      this.#out,
      done,
    );
  }

  override _destroy(err: Error | null, done: (err: Error | null) => void): void {
    if (this.#begun && !this.#call.destroyed && !this.#response.writableEnded) {
      endAnswer(this.#response, err === null ? { code: OK, message: '' } : statusOf(err));
      this.#call.resume();
    }
    done(err);
  }
}
