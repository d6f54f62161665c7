/**
 * Where the content of a file is cut into chunks for zstd:chunked: at places that depend on the bytes before them only
 * (a rolling sum), so that files which share parts have equal chunks. Pure.
 */

const least = 32 * 1024;
const most = 1 << 20;
/** A cut comes after 64 KiB on average, beyond the least size. */
const mask = 0xffff << 16;

/** Finds the end of the chunks of one file, whose bytes come in any portions. */
export class Boundaries {
  #size = 0;
  #sum = 0;

  /** The number of bytes of `data`, from `from` on, up to the end of a chunk; undefined when none ends in it. */
  next(data: Uint8Array, from: number): number | undefined {
    // The sum knows 32 bytes: what is long before the least size does not count.
    const skip = Math.min(Math.max(0, least - 32 - this.#size), data.length - from);
    const room = Math.min(data.length - from, most - this.#size);
    let sum = this.#sum;
    for (let i = skip; i < room; i++) {
      sum = ((sum << 1) + (gear[data[from + i] as number] as number)) | 0;
      if ((sum & mask) === 0 && this.#size + i + 1 >= least) return this.#cut(i + 1);
    }
    this.#sum = sum;
    this.#size += room;
    return this.#size === most ? this.#cut(room) : undefined;
  }

  #cut(length: number): number {
    this.#size = 0;
    this.#sum = 0;
    return length;
  }
}

/** A number for each byte, without a pattern: the same everywhere, since chunks are to be equal everywhere. */
const gear = Int32Array.from({ length: 256 }, (_, byte) => {
  let x = (byte + 1) * 0x9e3779b1;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
});
