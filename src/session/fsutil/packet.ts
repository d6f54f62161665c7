/**
 * fsutil's packets (proto/fsutil/wire.proto) in gRPC's framing, read and written by hand: a context is a hundred
 * thousand of them. https://protobuf.dev/programming-guides/encoding/
 */
import { fail } from '../../errors/error.ts';

export const STAT = 0;
export const REQ = 1;
export const DATA = 2;
export const FIN = 3;
export const ERR = 4;

/** One file of the sender's. */
export interface Stat {
  /** Relative, clean, with `/` between its parts. */
  path: string;
  /** Go's os.FileMode. */
  mode: number;
  uid: number;
  gid: number;
  size: number;
  /** ns since the epoch */
  mtimeNs: bigint;
  link: string;
  devmajor: number;
  devminor: number;
  xattrs: [name: string, value: Buffer][];
}

export interface Packet {
  type: number;
  stat: Stat | undefined;
  id: number;
  /** A part of the message that was read, not a copy. */
  data: Uint8Array;
}

const none = new Uint8Array(0);

/** Reads a packet. Throws `invalid` (hop `session`) when the bytes are none. */
export function readPacket(bytes: Uint8Array): Packet {
  const reader = new FieldReader(bytes);
  const packet: Packet = { type: 0, stat: undefined, id: 0, data: none };
  while (reader.next()) {
    if (reader.field === 1) packet.type = reader.uint();
    else if (reader.field === 2) packet.stat = readStat(reader.bytes());
    else if (reader.field === 3) packet.id = reader.uint();
    else if (reader.field === 4) packet.data = reader.bytes();
    else reader.skip();
  }
  return packet;
}

function readStat(bytes: Uint8Array): Stat {
  const reader = new FieldReader(bytes);
  const stat: Stat = {
    path: '',
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtimeNs: 0n,
    link: '',
    devmajor: 0,
    devminor: 0,
    xattrs: [],
  };
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        stat.path = reader.string();
        break;
      case 2:
        stat.mode = reader.uint();
        break;
      case 3:
        stat.uid = reader.uint();
        break;
      case 4:
        stat.gid = reader.uint();
        break;
      case 5:
        stat.size = Number(reader.int64());
        break;
      case 6:
        stat.mtimeNs = reader.int64();
        break;
      case 7:
        stat.link = reader.string();
        break;
      case 8:
        stat.devmajor = Number(reader.int64());
        break;
      case 9:
        stat.devminor = Number(reader.int64());
        break;
      case 10:
        stat.xattrs.push(readXattr(reader.bytes()));
        break;
      default:
        reader.skip();
    }
  }
  return stat;
}

function readXattr(bytes: Uint8Array): [string, Buffer] {
  const reader = new FieldReader(bytes);
  let name = '';
  let value: Uint8Array = none;
  while (reader.next()) {
    if (reader.field === 1) name = reader.string();
    else if (reader.field === 2) value = reader.bytes();
    else reader.skip();
  }
  return [name, Buffer.from(value)];
}

/** Walks over the fields of a protobuf message. Each `next` is followed by one read, or `skip`. */
class FieldReader {
  field = 0;
  #wire = 0;
  #at = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  next(): boolean {
    if (this.#at >= this.#bytes.length) return false;
    const tag = this.#varint();
    this.field = tag >>> 3;
    this.#wire = tag & 7;
    return true;
  }

  /** A varint's lower 32 bits. */
  uint(): number {
    this.#expect(0);
    return this.#varint();
  }

  int64(): bigint {
    this.#expect(0);
    let low = 0;
    let shift = 0;
    // Most are small; 28 bits fit a number's bit operations.
    while (shift < 28) {
      const byte = this.#byte();
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt(low);
      shift += 7;
    }
    let value = BigInt(low);
    for (let at = 28n; at < 70n; at += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << at;
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
    throw malformed();
  }

  bytes(): Uint8Array {
    this.#expect(2);
    const length = this.#varint();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw malformed();
    const part = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return part;
  }

  string(): string {
    const { length } = this.bytes();
    return this.#bytes.toString('utf8', this.#at - length, this.#at);
  }

  skip(): void {
    if (this.#wire === 0) this.#varint();
    else if (this.#wire === 2) this.bytes();
    else if (this.#wire === 1) this.#at += 8;
    else if (this.#wire === 5) this.#at += 4;
    else throw malformed();
    if (this.#at > this.#bytes.length) throw malformed();
  }

  #expect(wire: number): void {
    if (this.#wire !== wire) throw malformed();
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw malformed();
    return byte;
  }

  #varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#byte();
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw malformed();
  }
}

function malformed() {
  return fail('invalid', 'session', 'the peer sent a packet that cannot be read');
}

const firstSize = 64 * 1024;

/** Writes packets, each as one gRPC message, one after the other into a buffer. */
export class PacketWriter {
  #buffer = Buffer.allocUnsafeSlow(firstSize);
  #at = 0;

  /** Bytes written since `take`. */
  get size(): number {
    return this.#at;
  }

  /** What was written, in memory of its own that may be handed to another thread. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#buffer.subarray(0, this.#at));
    this.#at = 0;
    return bytes;
  }

  /** A file, or with undefined the end of their list. */
  stat(stat: Stat | undefined): void {
    const start = this.#begin();
    if (stat === undefined) {
      this.#end(start);
      return;
    }
    let room = 128 + stat.path.length * 3 + stat.link.length * 3;
    for (const [name, value] of stat.xattrs) room += name.length * 3 + value.length + 24;
    this.#reserve(room);
    this.#nested(2, () => {
      this.#string(1, stat.path);
      this.#number(2, stat.mode);
      this.#number(3, stat.uid);
      this.#number(4, stat.gid);
      this.#int64(5, BigInt(stat.size));
      this.#int64(6, stat.mtimeNs);
      this.#string(7, stat.link);
      this.#int64(8, BigInt(stat.devmajor));
      this.#int64(9, BigInt(stat.devminor));
      for (const [name, value] of stat.xattrs) {
        this.#nested(10, () => {
          this.#string(1, name);
          this.#bytes(2, value);
        });
      }
    });
    this.#end(start);
  }

  /** Asks for the file of this number. */
  request(id: number): void {
    const start = this.#begin();
    this.#number(1, REQ);
    this.#number(3, id);
    this.#end(start);
  }

  /** A part of a file; an empty one ends it. */
  data(id: number, bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    const start = this.#begin();
    this.#number(1, DATA);
    this.#number(3, id);
    this.#bytes(4, bytes);
    this.#end(start);
  }

  fin(): void {
    const start = this.#begin();
    this.#number(1, FIN);
    this.#end(start);
  }

  error(message: string): void {
    const bytes = Buffer.from(message);
    this.#reserve(bytes.length);
    const start = this.#begin();
    this.#number(1, ERR);
    this.#bytes(4, bytes);
    this.#end(start);
  }

  #reserve(length: number): void {
    const need = this.#at + length + 64;
    if (need <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(need, this.#buffer.length * 2));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }

  /** gRPC's frame: a byte for "not compressed" and the length. */
  #begin(): number {
    this.#reserve(0);
    const start = this.#at;
    this.#at += 5;
    return start;
  }

  #end(start: number): void {
    this.#buffer[start] = 0;
    this.#buffer.writeUInt32BE(this.#at - start - 5, start + 1);
  }

  #nested(field: number, write: () => void): void {
    this.#varint((field << 3) | 2);
    const start = this.#at;
    // Lengths below 128 take one byte, and most do; others move what was written.
    this.#at++;
    write();
    const length = this.#at - start - 1;
    if (length < 0x80) {
      this.#buffer[start] = length;
      return;
    }
    const extra = length < 0x4000 ? 1 : length < 0x200000 ? 2 : 3;
    this.#buffer.copyWithin(start + 1 + extra, start + 1, this.#at);
    this.#at = start;
    this.#varint(length);
    this.#at += length;
  }

  #number(field: number, value: number): void {
    if (value === 0) return;
    this.#varint(field << 3);
    this.#varint(value);
  }

  #int64(field: number, value: bigint): void {
    if (value === 0n) return;
    this.#varint(field << 3);
    let rest = BigInt.asUintN(64, value);
    while (rest > 0x7fn) {
      this.#buffer[this.#at++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#buffer[this.#at++] = Number(rest);
  }

  #string(field: number, text: string): void {
    if (text === '') return;
    this.#varint((field << 3) | 2);
    this.#varint(Buffer.byteLength(text));
    this.#at += this.#buffer.write(text, this.#at, 'utf8');
  }

  #bytes(field: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#varint((field << 3) | 2);
    this.#varint(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #varint(value: number): void {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.#buffer[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#buffer[this.#at++] = rest;
  }
}
