/**
 * gRPC's framing of messages: one byte (0: not compressed), four bytes of length, the message.
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
import { fail } from '../errors/index.ts';

/** The largest message accepted, in bytes: BuildKit's own limit. */
export const maxMessage = 16 << 20;

/** The length of a frame's header in bytes: the one for "not compressed", and the four of the length. */
export const frameHeaderLength = 5;

/** Makes the frame of one message. */
export function frame(message: Uint8Array): Buffer {
  return frameHead(message);
}

/**
 * Makes the beginning of a frame, up to the bytes of the message's last field, for callers that send these bytes
 * uncopied: the frame's header, the other fields (encoded), and the number and length in bytes of the last one, if
 * there is one.
 */
export function frameHead(fields: Uint8Array, last?: { field: number; length: number }): Buffer {
  const tail = last === undefined ? 0 : 1 + varintLength(last.length);
  const out = Buffer.allocUnsafe(frameHeaderLength + fields.length + tail);
  out[0] = 0;
  out.writeUInt32BE(fields.length + tail + (last?.length ?? 0), 1);
  out.set(fields, frameHeaderLength);
  if (last !== undefined) putField(out, frameHeaderLength + fields.length, last.field, last.length);
  return out;
}

/** Makes the frame of a `BytesMessage`: a message with nothing but bytes in its field 1. */
export function bytesFrame(data: Uint8Array): Buffer {
  return bytesFrameOf([data], data.length);
}

/** Makes the frame of a `BytesMessage` of several parts, which have `length` bytes together. */
export function bytesFrameOf(parts: readonly Uint8Array[], length: number): Buffer {
  if (length === 0) return frame(Buffer.alloc(0));
  const before = 1 + varintLength(length);
  const out = Buffer.allocUnsafe(frameHeaderLength + before + length);
  out[0] = 0;
  out.writeUInt32BE(before + length, 1);
  let at = putField(out, frameHeaderLength, 1, length);
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The number of bytes that a number takes. */
function varintLength(value: number): number {
  let length = 1;
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) length++;
  return length;
}

/** Writes the number and length of a field of bytes; returns where the bytes begin. */
function putField(out: Buffer, at: number, field: number, length: number): number {
  let next = at;
  out[next++] = (field << 3) | 2;
  let rest = length;
  for (; rest > 0x7f; rest >>>= 7) out[next++] = (rest & 0x7f) | 0x80;
  out[next++] = rest;
  return next;
}

/** Reads the bytes of a `BytesMessage`, whose only field is 1. Throws `invalid` (hop `session`). */
export function bytesIn(message: Uint8Array): Uint8Array {
  if (message.length === 0) return message;
  let at = 1;
  let length = 0;
  if (message[0] === 0x0a) {
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = message[at++];
      if (byte === undefined) break;
      length += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (at + length !== message.length) break;
        return message.subarray(at);
      }
    }
  }
  throw fail('invalid', 'session', 'the peer sent a message that is not one of bytes');
}

/** Divides a byte stream into messages. */
export class Deframer {
  readonly #most: number;
  readonly #borrowed: boolean;
  #chunks: Uint8Array[] = [];
  #length = 0;
  /** The bytes that the next message needs, with its header. */
  #need = frameHeaderLength;

  /**
   * `most`: the largest message accepted, in bytes. `borrowed`: the memory of a chunk is only lent, until the next one is
   * pushed; so are the messages that are parts of it.
   */
  constructor(most = maxMessage, { borrowed = false } = {}) {
    this.#most = most;
    this.#borrowed = borrowed;
  }

  /** Whether no part of a message is left: a stream may end here. */
  get empty(): boolean {
    return this.#length === 0;
  }

  /** Returns the messages that a chunk completes; they may be parts of the chunk. Throws `invalid` (hop `session`). */
  push(chunk: Uint8Array): Uint8Array[] {
    const messages: Uint8Array[] = [];
    let at = 0;
    // What was left of the chunks before is joined with as much of this one as completes its message.
    while (this.#length > 0) {
      const more = Math.min(this.#need - this.#length, chunk.length - at);
      this.#keep(chunk.subarray(at, at + more));
      at += more;
      if (this.#length < this.#need) return messages;
      const all = this.#chunks.length === 1 ? (this.#chunks[0] as Uint8Array) : Buffer.concat(this.#chunks);
      const need = frameHeaderLength + this.#lengthAt(all, 0);
      if (all.length < need) {
        this.#chunks = [all];
        this.#need = need;
        continue;
      }
      messages.push(all.subarray(frameHeaderLength));
      this.#chunks = [];
      this.#length = 0;
    }
    this.#need = frameHeaderLength;
    while (chunk.length - at >= frameHeaderLength) {
      const end = at + frameHeaderLength + this.#lengthAt(chunk, at);
      if (chunk.length < end) {
        this.#need = end - at;
        break;
      }
      messages.push(chunk.subarray(at + frameHeaderLength, end));
      at = end;
    }
    if (at < chunk.length) this.#keep(chunk.subarray(at));
    return messages;
  }

  #keep(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#chunks.push(this.#borrowed ? Buffer.from(part) : part);
    this.#length += part.length;
  }

  /** Reads the length in the header at `at`. */
  #lengthAt(all: Uint8Array, at: number): number {
    if (all[at] !== 0) {
      throw fail('invalid', 'session', 'the peer sent a compressed message, which was not agreed on');
    }
    const length = ((all[at + 1]! << 24) | (all[at + 2]! << 16) | (all[at + 3]! << 8) | all[at + 4]!) >>> 0;
    if (length <= this.#most) return length;
    throw fail('invalid', 'session', `the peer sent a message of ${length} bytes, more than ${this.#most}`);
  }
}
