/**
 * Limits the bytes of requests that are held for each caller until they are complete or answered. Flow control limits
 * only one call, and a caller may have a thousand of them open on each of many connections.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { maxMessage } from './frame.ts';

/** The bytes of all unfinished requests of one caller. A large bake's are a tenth of it. */
const maxHeld = 256 << 20;

/** The length of a frame's head: a flag and four bytes of length. */
const headBytes = 5;

/** What the reader of a call gets in place of messages, and the bytes that they will take besides their own. */
export interface Looked {
  bytes: Buffer;
  memory: number;
}

/** The bytes of requests that are held, counted by caller. */
export class HeldBytes {
  readonly #most: number;
  readonly #held = new Map<string, number>();

  /** `most`: the bytes allowed for one caller. */
  constructor(most = maxHeld) {
    this.#most = most;
  }

  /** The bytes held for a caller. */
  of(caller: string): number {
    return this.#held.get(caller) ?? 0;
  }

  /**
   * Counts the bytes of a call before they are read, and passes on each message when it is complete: a reader that
   * joins pieces may copy all of them for each piece. A call with `one` message holds it until it is answered; in other
   * calls, a message counts until it is passed on. A call of a caller that holds too much is broken off, which gRPC's
   * clients see as RESOURCE_EXHAUSTED. Call it before anything reads the stream. `look` sees messages, in their frames,
   * before they are passed on.
   */
  count(
    stream: ServerHttp2Stream,
    caller: string,
    one: boolean,
    look: (frames: Buffer) => Looked = (bytes) => ({ bytes, memory: 0 }),
  ): void {
    const messages = new Messages();
    let parts: Buffer[] = [];
    let waiting = 0;
    let passed = 0;
    let over = false;
    let held = 0;
    const hold = (bytes: number) => {
      const all = this.of(caller) + bytes - held;
      held = bytes;
      if (all === 0) this.#held.delete(caller);
      else this.#held.set(caller, all);
      return all <= this.#most;
    };
    // What came before the call was admitted, often all of it, is in the stream already.
    const early: Buffer[] = [];
    while (stream.readableLength > 0) early.push(stream.read());
    const push = stream.push.bind(stream);
    /** Passes on the waiting bytes with the beginning of the new chunk; the rest of the chunk waits. */
    const pass = (chunk: Buffer, end: number, on: (bytes: Buffer) => unknown = push) => {
      const whole = Buffer.concat([...parts, chunk.subarray(0, end)]);
      const rest = chunk.subarray(end);
      parts = rest.length > 0 ? [rest] : [];
      waiting = rest.length;
      if (whole.length === 0) return true;
      const { bytes, memory } = look(whole);
      passed += whole.length + memory;
      return on(bytes) !== false;
    };
    const take = (chunk: Buffer, on?: (bytes: Buffer) => unknown) => {
      const end = messages.take(chunk);
      let more = true;
      if (end > 0) more = pass(chunk, end, on);
      else {
        parts.push(chunk);
        waiting += chunk.length;
      }
      if (hold(one ? passed + waiting : waiting)) return more;
      over = true;
      parts = [];
      hold(0);
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      // The stream would wait for its answer to be read.
      stream.destroy();
      return false;
    };
    // Node passes on read bytes by this method, whoever reads and how.
    stream.push = (chunk: Buffer | null) => {
      if (over) return false;
      if (chunk !== null) return take(chunk);
      pass(Buffer.alloc(0), 0);
      return push(null);
    };
    if (early.length > 0) take(Buffer.concat(early), (bytes) => stream.unshift(bytes));
    stream.once('close', () => {
      over = true;
      hold(0);
    });
  }
}

/** Finds the ends of a call's messages. */
class Messages {
  #head: number[] = [];
  #missing = 0;

  /**
   * Takes bytes and returns how many of them may be passed on: those up to the end of the last complete message, and
   * all bytes of a message that is too long, so that its reader can refuse it at once.
   */
  take(chunk: Uint8Array): number {
    let end = 0;
    for (let at = 0; at < chunk.length; ) {
      if (this.#head.length < headBytes) {
        this.#head.push(chunk[at++] as number);
        if (this.#head.length === headBytes) this.#missing = Buffer.from(this.#head).readUInt32BE(1);
      } else {
        const some = Math.min(this.#missing, chunk.length - at);
        at += some;
        this.#missing -= some;
      }
      if (this.#head.length < headBytes) continue;
      if (this.#missing === 0) this.#head = [];
      if (this.#missing === 0 || this.#missing > maxMessage) end = at;
    }
    return end;
  }
}
