/**
 * Sparse maps of GNU tar: the old 'S' headers and PAX formats 0.0, 0.1 and 1.0.
 * https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
 */
import { decimal, headerNumber } from './numbers.ts';

export interface Region {
  offset: number;
  length: number;
}

/** Reads (offset, length) pairs at `at` of a header or extension block; undefined when they are malformed. */
export function oldGnuRegions(block: Buffer, at: number, count: number): Region[] | undefined {
  const regions: Region[] = [];
  for (let i = 0; i < count; i++) {
    const from = at + i * 24;
    if (block[from] === 0 && block[from + 12] === 0) break;
    const offset = headerNumber(block, from, 12);
    const length = headerNumber(block, from + 12, 12);
    if (offset === undefined || length === undefined) return undefined;
    regions.push({ offset, length });
  }
  return regions;
}

/** Format 0.0: alternating records `GNU.sparse.offset` and `GNU.sparse.numbytes`. */
export function sparse00(records: readonly [string, string][]): Region[] | undefined {
  const numbers: string[] = [];
  for (const [i, [key, value]] of records.entries()) {
    if (key !== (i % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes')) return undefined;
    numbers.push(value);
  }
  return pairs(numbers);
}

/** Format 0.1: `GNU.sparse.map`, a comma-separated list of numbers. */
export function sparse01(map: string): Region[] | undefined {
  return pairs(map.split(','));
}

function pairs(texts: readonly string[]): Region[] | undefined {
  if (texts.length % 2 !== 0) return undefined;
  const regions: Region[] = [];
  for (let i = 0; i < texts.length; i += 2) {
    const offset = decimal(texts[i] ?? '');
    const length = decimal(texts[i + 1] ?? '');
    if (offset === undefined || length === undefined) return undefined;
    regions.push({ offset, length });
  }
  return regions;
}

/** Format 1.0: writes a map of regions, in whole blocks. */
export function sparseMap(regions: readonly Region[]): Buffer {
  const lines = [regions.length, ...regions.flatMap(({ offset, length }) => [offset, length])];
  const text = lines.map((line) => `${line}\n`).join('');
  return Buffer.alloc(Math.ceil(text.length / 512) * 512).fill(text, 0, text.length, 'latin1');
}

/**
 * Format 1.0: reads decimal lines from the first blocks of the content: the count, then offset and length of each
 * region.
 */
export class SparseMapReader {
  readonly regions: Region[] = [];
  bytes = 0;
  done = false;
  #line = '';
  #count: number | undefined;
  #offset: number | undefined;

  /** Takes the next 512 bytes; false when they are not part of a map. */
  push(block: Buffer): boolean {
    this.bytes += block.length;
    let at = 0;
    while (!this.done) {
      const end = block.indexOf(0x0a, at);
      this.#line += block.toString('latin1', at, end < 0 ? block.length : end);
      if (this.#line.length > 20) return false;
      if (end < 0) return true;
      const number = decimal(this.#line);
      if (number === undefined) return false;
      this.#line = '';
      at = end + 1;
      if (this.#count === undefined) this.#count = number;
      else if (this.#offset === undefined) this.#offset = number;
      else {
        this.regions.push({ offset: this.#offset, length: number });
        this.#offset = undefined;
      }
      this.done = this.regions.length === this.#count;
    }
    return true;
  }
}

/**
 * Returns the regions without empty ones, if they are in order, within the file's size, and together as long as the
 * stored bytes; else undefined.
 */
export function checkRegions(regions: readonly Region[], size: number, stored: number): Region[] | undefined {
  let at = 0;
  let sum = 0;
  for (const { offset, length } of regions) {
    if (offset < at || length < 0 || offset + length > size) return undefined;
    at = offset + length;
    sum += length;
  }
  if (sum !== stored) return undefined;
  return regions.filter(({ length }) => length > 0);
}
