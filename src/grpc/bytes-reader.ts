/** Reads a stream of `BytesMessage`s (messages with nothing but bytes in field 1) without waiting for whole messages. */
import { fail } from '../errors/index.ts';
import { maxMessage } from './frame.ts';

/** The tag of field 1, of bytes. */
const tag = 0x0a;
/** The byte for "not compressed", and four of length. */
const headLength = 5;

/**
 * Finds the bytes in a stream of `BytesMessage`s, however the stream is cut. It keeps nothing but the position in a
 * message, so nothing is copied and no message is held.
 *
 *     const reader = new BytesReader();
 *     for (const part of reader.push(chunk)) connection.push(part);
 */
export class BytesReader {
  /** How many bytes of the message's head were read. */
  #head = 0;
  /** The bytes of the message that are still to come. */
  #left = 0;
  /** The field: its tag is next, its length is being read, or its bytes are coming. */
  #state: 'tag' | 'length' | 'bytes' = 'tag';
  #length = 0;
  #shift = 0;

  /** Returns the bytes in a chunk, as parts of it. Throws `invalid` (hop `session`) when a message is another one. */
  push(chunk: Uint8Array): Uint8Array[] {
    const parts: Uint8Array[] = [];
    for (let at = 0; at < chunk.length; ) {
      if (this.#head < headLength) {
        this.#takeHead(chunk[at++] as number);
      } else if (this.#state === 'bytes') {
        const end = Math.min(chunk.length, at + this.#left);
        parts.push(chunk.subarray(at, end));
        this.#left -= end - at;
        at = end;
        if (this.#left === 0) this.#next();
      } else this.#takeField(chunk[at++] as number);
    }
    return parts;
  }

  #takeHead(byte: number): void {
    if (this.#head++ === 0) {
      if (byte !== 0)
        throw fail('invalid', 'session', 'the peer sent a compressed message, which was not agreed on');
      return;
    }
    this.#left = this.#left * 256 + byte;
    if (this.#head < headLength) return;
    if (this.#left > maxMessage) {
      const message = `the peer sent a message of ${this.#left} bytes, more than ${maxMessage}`;
      throw fail('invalid', 'session', message);
    }
    if (this.#left === 0) this.#next();
  }

  #takeField(byte: number): void {
    this.#left--;
    if (this.#state === 'tag') {
      if (byte !== tag) throw notBytes();
      this.#state = 'length';
    } else {
      this.#length += (byte & 0x7f) * 2 ** this.#shift;
      this.#shift += 7;
      if (byte < 0x80) {
        if (this.#length !== this.#left) throw notBytes();
        this.#state = 'bytes';
        if (this.#left === 0) this.#next();
        return;
      } else if (this.#shift > 28) throw notBytes();
    }
    if (this.#left === 0) throw notBytes();
  }

  #next(): void {
    this.#head = 0;
    this.#left = 0;
    this.#state = 'tag';
    this.#length = 0;
    this.#shift = 0;
  }
}

function notBytes() {
  return fail('invalid', 'session', 'the peer sent a message that is not one of bytes');
}
