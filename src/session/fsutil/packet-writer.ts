/** Writes fsutil's packets in gRPC's framing. https://protobuf.dev/programming-guides/encoding/ */
import { bytesOf } from '../../linux/index.ts';
import { DATA, ERR, FIN, REQ, type Stat } from './packet.ts';

const firstSize = 64 * 1024;

/** Writes packets into a buffer, one after the other, each as one gRPC message. */
export class PacketWriter {
  #buffer = Buffer.allocUnsafeSlow(firstSize);
  #at = 0;

  /** The number of bytes written since `take`. */
  get size(): number {
    return this.#at;
  }

  /** The written bytes. They are good until more is written. */
  take(): Uint8Array {
    const bytes = this.#buffer.subarray(0, this.#at);
    this.#at = 0;
    return bytes;
  }

  /** Writes a file's description, or, with undefined, the end of the list. */
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

  /** Writes a request for the file of this number. */
  request(id: number): void {
    const start = this.#begin();
    this.#number(1, REQ);
    this.#number(3, id);
    this.#end(start);
  }

  /** Writes a part of a file; an empty part ends it. */
  data(id: number, bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    const start = this.#begin();
    this.#number(1, DATA);
    this.#number(3, id);
    this.#bytes(4, bytes);
    this.#end(start);
  }

  /**
   * Writes a part of a file, of at most `most` bytes, which `read` puts into the buffer at an offset. Returns how many
   * bytes there were, as `read` does; without any, nothing is written.
   */
  dataFrom(id: number, most: number, read: (buffer: Buffer, at: number) => number): number {
    this.#reserve(most);
    const start = this.#begin();
    this.#number(1, DATA);
    this.#number(3, id);
    const head = this.#at;
    this.#varint((4 << 3) | 2);
    this.#varint(most);
    const length = read(this.#buffer, this.#at);
    if (length === most) this.#at += length;
    else if (length === 0) {
      this.#at = start;
      return 0;
    } else {
      // The length may now take fewer bytes.
      const from = this.#at;
      this.#at = head;
      this.#varint((4 << 3) | 2);
      this.#varint(length);
      this.#buffer.copyWithin(this.#at, from, from + length);
      this.#at += length;
    }
    this.#end(start);
    return length;
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

  /** Begins gRPC's frame: a byte for "not compressed", and the length. */
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
    if (!text.isWellFormed()) {
      this.#bytes(field, bytesOf(text));
      return;
    }
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
