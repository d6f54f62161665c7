/** ELF files: how they begin, which processor they are for, and the least one that runs. Pure. */
import type { Machine } from './machines.ts';

/** The part of a file that tells the processor, in bytes. */
const markSize = 20;
const executable = 2;
const interpreterSegment = 3;

/** The first 20 bytes of a program for a processor. */
export function markOf({ bits, order, machine }: Machine): Buffer {
  const mark = Buffer.alloc(markSize);
  mark.set([0x7f, 0x45, 0x4c, 0x46, bits / 32, order === 'little' ? 1 : 2, 1]);
  const put = order === 'little' ? mark.writeUInt16LE : mark.writeUInt16BE;
  put.call(mark, executable, 16);
  put.call(mark, machine, 18);
  return mark;
}

/**
 * Which bits of the 20 bytes count. The system's ABI and its version do not; a program's type is 2, or 3 when it can be
 * anywhere in memory.
 */
export function markMask({ order }: Machine): Buffer {
  const mask = Buffer.alloc(markSize, 0xff);
  mask.fill(0, 7, 9);
  mask[order === 'little' ? 16 : 17] = 0xfe;
  return mask;
}

/** Whether a file that begins so is a program for the processor. */
export function isFor(machine: Machine, head: Buffer): boolean {
  return matches(head, markOf(machine), markMask(machine), 0);
}

/** Whether a file that begins with `head` has `magic` at `offset`, as far as `mask` says. */
export function matches(head: Buffer, magic: Buffer, mask: Buffer | undefined, offset: number): boolean {
  if (head.length < offset + magic.length) return false;
  return magic.every((byte, i) => (((head[offset + i] as number) ^ byte) & (mask?.[i] ?? 0xff)) === 0);
}

/** The words of a header that are 4 bytes long, or 8 in programs of 64 bits. */
class Words {
  readonly #bytes: Buffer;
  readonly #machine: Pick<Machine, 'bits' | 'order'>;
  #at = 0;

  constructor(bytes: Buffer, machine: Pick<Machine, 'bits' | 'order'>) {
    this.#bytes = bytes;
    this.#machine = machine;
  }

  skip(count: number): this {
    this.#at += count;
    return this;
  }

  half(...values: number[]): this {
    for (const value of values) this.#put(value, 2);
    return this;
  }

  word(...values: number[]): this {
    for (const value of values) this.#put(value, 4);
    return this;
  }

  wide(...values: number[]): this {
    for (const value of values) {
      const { bits, order } = this.#machine;
      if (bits === 64 && order === 'big') this.#at += 4;
      this.#put(value, 4);
      if (bits === 64 && order === 'little') this.#at += 4;
    }
    return this;
  }

  #put(value: number, size: number): void {
    if (this.#machine.order === 'little') this.#bytes.writeUIntLE(value, this.#at, size);
    else this.#bytes.writeUIntBE(value, this.#at, size);
    this.#at += size;
  }
}

/** A program for the processor that ends with `probeExit` and does nothing else, as the bytes of a file. */
export function probeProgram(machine: Machine): Buffer {
  const code = Buffer.from(machine.exit.replaceAll(' ', ''), 'hex');
  const wide = machine.bits === 64;
  const [header, segment] = wide ? [64, 56] : [52, 32];
  const start = header + segment;
  const base = 0x400000;
  const file = Buffer.alloc(start + code.length);
  markOf(machine).copy(file);
  const words = new Words(file, machine).skip(markSize);
  words
    .word(1)
    .wide(base + start, header, 0)
    .word(machine.flags);
  words.half(header, segment, 1, 0, 0, 0);
  const readAndRun = 5;
  words.word(1);
  if (wide) words.word(readAndRun);
  words.wide(0, base, base, file.length, file.length);
  if (!wide) words.word(readAndRun);
  words.wide(0x10000);
  code.copy(file, start);
  return file;
}

/**
 * Whether a program needs no loader and no libraries, so that it runs in any root. `head` is the beginning of its file,
 * 4096 bytes or more of it. A program for little-endian processors; false for anything else.
 */
export function isStatic(head: Buffer): boolean {
  if (head.length < 64 || head.readUInt32BE(0) !== 0x7f454c46 || head[5] !== 1) return false;
  const wide = head[4] === 2;
  const at = wide ? Number(head.readBigUInt64LE(32)) : head.readUInt32LE(28);
  const [size, count] = [head.readUInt16LE(wide ? 54 : 42), head.readUInt16LE(wide ? 56 : 44)];
  for (let i = 0; i < count; i++) {
    const segment = at + i * size;
    if (segment + 4 > head.length) return false;
    if (head.readUInt32LE(segment) === interpreterSegment) return false;
  }
  return true;
}
