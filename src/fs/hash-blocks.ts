/** The digest of a large file's bytes. It skips holes and blocks of zeros, so its cost is that of the data. */
import { createHash, type Hash } from 'node:crypto';
import { readSync } from 'node:fs';
import { seekData } from '../linux/index.ts';

export const blockSize = 1 << 20;
export const zeros = Buffer.alloc(blockSize);

/** The blocks of a file that are nothing but zeros. */
export class ZeroRuns {
  readonly #runs: [start: number, count: number][] = [];

  add(start: number, count: number): void {
    const last = this.#runs.at(-1);
    if (last !== undefined && last[0] + last[1] === start) last[1] += count;
    else this.#runs.push([start, count]);
  }

  /** Returns the file's digest; `sha` has taken all of its other bytes. */
  digest(sha: Hash): string {
    if (this.#runs.length === 0) return sha.digest('hex');
    sha.update(JSON.stringify(this.#runs));
    return `zeros:${sha.digest('hex')}`;
  }
}

/**
 * Returns the SHA-256 of an open file's bytes, in hex. If blocks of 1 MiB are nothing but zeros, the hash covers the
 * other blocks and their positions, with a mark in front. The same bytes give the same result, whether zeros are stored
 * as holes or not. `buffer` holds one block; `giveWay` is called for each block and may throw.
 *
 *     hashBlocks(fd, fstatSync(fd).size, Buffer.allocUnsafe(blockSize), stopper(ctx));
 */
export function hashBlocks(fd: number, size: number, buffer: Buffer, giveWay: () => void): string {
  const sha = createHash('sha256');
  const runs = new ZeroRuns();
  for (let block = 0; ; block++) {
    giveWay();
    const data = nextData(fd, block * blockSize, size);
    const skipped = Math.floor(data / blockSize) - block;
    if (skipped > 0) {
      runs.add(block, skipped);
      block += skipped;
    }
    const n = readBlock(fd, buffer, block * blockSize);
    if (n === blockSize && buffer.equals(zeros)) runs.add(block, 1);
    else sha.update(buffer.subarray(0, n));
    if (n < blockSize) break;
  }
  return runs.digest(sha);
}

/** The offset at which data begins, at or after `at`; the file's end when only a hole follows. */
function nextData(fd: number, at: number, size: number): number {
  if (at >= size) return at;
  const data = seekData(fd, at);
  return data < 0 ? Math.max(at, size) : data;
}

function readBlock(fd: number, buffer: Buffer, at: number): number {
  let have = 0;
  while (have < blockSize) {
    const n = readSync(fd, buffer, have, blockSize - have, at + have);
    if (n === 0) break;
    have += n;
  }
  return have;
}
