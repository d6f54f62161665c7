/** Reads one 512-byte header block, field by field. */
import { nameOf } from '../linux/index.ts';
import { headerNumber } from './numbers.ts';

export const BLOCK = 512;

/** Whether a block is all zeros. */
export function isZero(block: Buffer): boolean {
  if (block[0] !== 0) return false;
  for (let i = 1; i < BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

/** Whether the header's sum is right. Its own field counts as spaces; old writers added signed bytes. */
export function checksumHolds(block: Buffer): boolean {
  const wanted = headerNumber(block, 148, 8);
  if (wanted === undefined) return false;
  let sum = 8 * 0x20;
  let high = 0;
  for (let i = 0; i < 148; i++) {
    sum += block[i]!;
    high += block[i]! >> 7;
  }
  for (let i = 156; i < BLOCK; i++) {
    sum += block[i]!;
    high += block[i]! >> 7;
  }
  return sum === wanted || sum - 256 * high === wanted;
}

/** Reads a NUL-terminated field as a name. */
export function text(block: Buffer, at: number, length: number): string {
  let end = at;
  while (end < at + length && block[end] !== 0) end++;
  return nameOf(block, at, end);
}

/** The path in a header alone: its name, after its prefix where the format has one. */
export function headerPath(block: Buffer, ustar: boolean): string {
  const name = text(block, 0, 100);
  if (!ustar || block[345] === 0) return name;
  const star = block.toString('latin1', 508, 512) === 'tar\0';
  const prefix = text(block, 345, star ? 131 : 155);
  return prefix === '' ? name : `${prefix}/${name}`;
}
