/** Finds sections of ELF programs. https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html */
import { fail } from '../../errors/index.ts';
import type { OpenFile } from '../lines.ts';

/** A program in ELF's format. */
export interface Elf {
  /** Places of its sections in the file, by name. */
  sections: ReadonlyMap<string, { offset: number; size: number }>;
  isBig: boolean;
  is64: boolean;
  /** The place in the file of an address in memory; undefined when the file does not have it. */
  offsetOf(address: number): number | undefined;
}

const maxSections = 10_000;

/** Reads an ELF file's table of sections; undefined for another kind of file. Throws for a broken one. */
export function readElf(file: OpenFile): Elf | undefined {
  if (file.size < 52) return undefined;
  const head = file.at(0, Math.min(64, file.size));
  if (head.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const is64 = head[4] === 2;
  const isBig = head[5] === 2;
  if (is64 && head.length < 64) return undefined;
  const number = numbersOf(isBig, is64);
  const at = is64
    ? { ph: number.word(head, 32), sh: number.word(head, 40), sizes: 54 }
    : { ph: number.word(head, 28), sh: number.word(head, 32), sizes: 42 };
  const [phSize, phCount, shSize, shCount, names] = [0, 2, 4, 6, 8].map((i) =>
    number.u16(head, at.sizes + i),
  ) as [...[number, number, number, number, number]];
  const sections = new Map<string, { offset: number; size: number }>();
  if (shCount > 0 && at.sh > 0) {
    if (shCount > maxSections || shSize < (is64 ? 64 : 40))
      throw fail('invalid', 'file', 'no sound ELF file');
    const table = file.at(at.sh, shCount * shSize);
    const place = (i: number) => {
      const entry = i * shSize;
      return {
        name: number.u32(table, entry),
        offset: number.word(table, entry + (is64 ? 24 : 16)),
        size: number.word(table, entry + (is64 ? 32 : 20)),
      };
    };
    if (names < shCount) {
      const { offset, size } = place(names);
      const texts = file.at(offset, Math.min(size, 1 << 20));
      for (let i = 0; i < shCount; i++) {
        const section = place(i);
        if (section.name >= texts.length) continue;
        const end = texts.indexOf(0, section.name);
        sections.set(texts.toString('latin1', section.name, end < 0 ? texts.length : end), section);
      }
    }
  }
  return {
    sections,
    isBig,
    is64,
    offsetOf(address) {
      if (phCount === 0 || phCount > maxSections) return undefined;
      const table = file.at(at.ph, phCount * phSize);
      for (let i = 0; i < phCount; i++) {
        const entry = i * phSize;
        const offset = number.word(table, entry + (is64 ? 8 : 4));
        const start = number.word(table, entry + (is64 ? 16 : 8));
        const size = number.word(table, entry + (is64 ? 32 : 16));
        const isLoaded = number.u32(table, entry) === 1;
        if (isLoaded && address >= start && address < start + size) return address - start + offset;
      }
      return undefined;
    },
  };
}

/** Readers of numbers in a program's order of bytes. A word is an address or an offset. */
export function numbersOf(isBig: boolean, is64: boolean) {
  return {
    u16: (bytes: Buffer, at: number) => (isBig ? bytes.readUInt16BE(at) : bytes.readUInt16LE(at)),
    u32: (bytes: Buffer, at: number) => (isBig ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at)),
    word(bytes: Buffer, at: number) {
      if (!is64) return isBig ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at);
      return Number(isBig ? bytes.readBigUInt64BE(at) : bytes.readBigUInt64LE(at));
    },
  };
}
