/** Reads fsutil's packets. https://protobuf.dev/programming-guides/encoding/ */
import { fail } from '../../errors/index.ts';
import { nameOf } from '../../linux/index.ts';
import type { Packet, Stat } from './packet.ts';

const none = new Uint8Array(0);

/** The most extended attributes of a file: Linux lists at most 64 KiB of names. */
const maxXattrs = 10_000;

/** Reads a packet. Throws `invalid` (hop `session`) when the bytes are no packet. */
export function readPacket(bytes: Uint8Array): Packet {
  const reader = new FieldReader(bytes);
  const packet: Packet = { type: 0, stat: undefined, statBytes: none, id: 0, data: none };
  while (reader.next()) {
    if (reader.field === 1) packet.type = reader.uint();
    else if (reader.field === 2) {
      packet.statBytes = reader.bytes();
      packet.stat = readStat(packet.statBytes);
    } else if (reader.field === 3) packet.id = reader.uint();
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
        if (stat.xattrs.push(readXattr(reader.bytes())) > maxXattrs) throw malformed();
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

  /** The lower 32 bits of a varint. */
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
    return nameOf(this.#bytes, this.#at - length, this.#at);
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
