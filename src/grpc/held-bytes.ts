/**
 * How many bytes of requests are held for each who calls, until they are whole or answered: flow control bounds one
 * call, and somebody may have a thousand of them open on each of many connections.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { maxMessage } from './frame.ts';

/** Bytes of all unfinished requests of one caller. A large bake's are a tenth of it. */
const maxHeld = 256 << 20;

/** The length of a message's head: a flag and four bytes of length. */
const headBytes = 5;

export class HeldBytes {
  readonly #most: number;
  readonly #held = new Map<string, number>();

  /** `most`: bytes for one caller. */
  constructor(most = maxHeld) {
    this.#most = most;
  }

  /** Bytes held for a caller. */
  of(caller: string): number {
    return this.#held.get(caller) ?? 0;
  }

  /**
   * Counts what comes on a call before it is read, and hands on each message when it is whole: a reader that puts
   * together what comes in pieces may copy all of it for each. A call with `one` message holds it until it is answered;
   * of others, a message counts until it is passed on. Who holds more than they may has this call broken off, which
   * gRPC's clients tell as RESOURCE_EXHAUSTED. Call it before anybody reads.
   */
  count(stream: ServerHttp2Stream, caller: string, one: boolean): void {
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
    const push = stream.push.bind(stream);
    /** Hands on what waits, with the beginning of what has just come; the rest of it waits. */
    const pass = (chunk: Buffer, end: number) => {
      const whole = Buffer.concat([...parts, chunk.subarray(0, end)]);
      const rest = chunk.subarray(end);
      parts = rest.length > 0 ? [rest] : [];
      waiting = rest.length;
      passed += whole.length;
      return whole.length === 0 || push(whole);
    };
    // Node hands over what it has read by this, whoever reads it and how.
    stream.push = (chunk: Buffer | null) => {
      if (over) return false;
      if (chunk === null) {
        pass(Buffer.alloc(0), 0);
        return push(null);
      }
      const end = messages.take(chunk);
      let more = true;
      if (end > 0) more = pass(chunk, end);
      else {
        parts.push(chunk);
        waiting += chunk.length;
      }
      if (hold(one ? passed + waiting : waiting)) return more;
      over = true;
      parts = [];
      hold(0);
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      // It would wait for its answer to be read.
      stream.destroy();
      return false;
    };
    stream.once('close', () => {
      over = true;
      hold(0);
    });
  }
}

/** Where the messages of a call end. */
class Messages {
  #head: number[] = [];
  #missing = 0;

  /**
   * Takes bytes; gives how many of them may be handed on: up to the end of the last message that is whole, and all of a
   * message that is longer than any may be, as its reader is to say so at once.
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
