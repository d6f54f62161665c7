/** Frames of WebSocket (RFC 6455), as a client writes and reads them. Pure. */
import { randomFillSync } from 'node:crypto';

const continuation = 0;
export const binary = 2;
export const close = 8;
export const ping = 9;
export const pong = 10;

const pool = Buffer.allocUnsafe(4096);
let used = pool.length;

/** Four bytes at random, which clients mix into what they send. */
function nextMask(): Buffer {
  if (used + 4 > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += 4;
  return Buffer.from(pool.subarray(used - 4, used));
}

/** One whole frame of a client. */
export function clientFrame(opcode: number, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const extra = length < 126 ? 0 : length < 65536 ? 2 : 8;
  const frame = Buffer.allocUnsafe(6 + extra + length);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (extra === 0 ? length : extra === 2 ? 126 : 127);
  if (extra === 2) frame.writeUInt16BE(length, 2);
  else if (extra === 8) frame.writeBigUInt64BE(BigInt(length), 2);
  const mask = nextMask();
  mask.copy(frame, 2 + extra);
  let at = 6 + extra;
  let i = 0;
  for (const part of parts) {
    for (const byte of part) frame[at++] = byte ^ (mask[i++ & 3] as number);
  }
  return frame;
}

/** A piece of a message: the bytes that have come of it, as they come. */
interface Piece {
  /** Of the message: binary, close, ping …; a continued frame has the one that its message began with. */
  opcode: number;
  bytes: Buffer;
  /** No piece of this message came before; none follows. */
  first: boolean;
  last: boolean;
}

/** The longest frame that may tell of the connection itself (ping, close). */
const maxControl = 125;

/**
 * Reads what a server sends. Data are handed on as they come and never collected; frames about the connection come whole.
 * Throws on what a server may not send.
 */
export class FrameReader {
  #head: Buffer = Buffer.alloc(0);
  #opcode = 0;
  #left = 0n;
  #final = false;
  #inFrame = false;
  /** The opcode of the message that is not at its end yet. */
  #message: number | undefined;
  #began = false;
  #control: Buffer[] = [];

  /** The pieces in these bytes. */
  *read(bytes: Buffer): Generator<Piece, void> {
    let rest: Buffer = bytes;
    for (;;) {
      if (!this.#inFrame) {
        rest = this.#head.length === 0 ? rest : Buffer.concat([this.#head, rest]);
        const length = this.#begin(rest);
        if (length === 0) {
          this.#head = rest;
          return;
        }
        this.#head = Buffer.alloc(0);
        rest = rest.subarray(length);
      }
      const taken = rest.subarray(
        0,
        Number(this.#left < BigInt(rest.length) ? this.#left : BigInt(rest.length)),
      );
      rest = rest.subarray(taken.length);
      this.#left -= BigInt(taken.length);
      const over = this.#left === 0n;
      if (over) this.#inFrame = false;
      if (this.#opcode >= close) {
        this.#control.push(taken);
        if (over)
          yield {
            opcode: this.#opcode,
            bytes: Buffer.concat(this.#control.splice(0)),
            first: true,
            last: true,
          };
      } else {
        const last = over && this.#final;
        if (taken.length > 0 || last) {
          yield { opcode: this.#message as number, bytes: taken, first: !this.#began, last };
          this.#began = true;
        }
        if (last) this.#message = undefined;
      }
      if (rest.length === 0) return;
    }
  }

  /** Reads a frame's head; its length, or 0 while it is not there in full. */
  #begin(bytes: Buffer): number {
    if (bytes.length < 2) return 0;
    const [one, two] = bytes as unknown as [number, number];
    const short = two & 0x7f;
    const length = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (bytes.length < length) return 0;
    const opcode = one & 0x0f;
    if ((one & 0x70) !== 0) throw new Error('a frame with an extension that was not agreed on');
    if ((two & 0x80) !== 0) throw new Error('a masked frame from a server');
    this.#left =
      short === 126
        ? BigInt(bytes.readUInt16BE(2))
        : short === 127
          ? bytes.readBigUInt64BE(2)
          : BigInt(short);
    this.#final = (one & 0x80) !== 0;
    if (opcode >= close) {
      if (!this.#final || this.#left > maxControl) throw new Error('a long frame about the connection');
    } else if (opcode === continuation) {
      if (this.#message === undefined) throw new Error('a frame that continues nothing');
    } else {
      if (this.#message !== undefined) throw new Error('a message within a message');
      this.#message = opcode;
      this.#began = false;
    }
    this.#opcode = opcode;
    this.#inFrame = true;
    return length;
  }
}
