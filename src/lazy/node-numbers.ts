/** The numbers of files in the filesystem of lazy layers. Pure. */
import type { HostStat } from '../linux/index.ts';

/** Numbers of files on disk that fit beside a layer's number. */
const largestIno = 1n << 40n;

/** Gives nodes their numbers: the layer's, and that of the file on disk, which is the same for all names of a file. */
export class NodeNumbers {
  /** Of files whose numbers are larger, as some filesystems give: counted, with a bit that layers do not reach. */
  readonly #counted = new Map<string, bigint>();

  of(layer: number, { ino }: Pick<HostStat, 'ino'>): bigint {
    if (ino < largestIno) return (BigInt(layer) << 40n) + ino;
    const key = `${layer} ${ino}`;
    const known = this.#counted.get(key) ?? (1n << 62n) + BigInt(this.#counted.size);
    this.#counted.set(key, known);
    return known;
  }
}
