/** A large file of an archive while it comes, in the place of one that may turn out to be the same. */
import { closeSync, readSync } from 'node:fs';
import { BlockHash, blockSize } from '../fs/index.ts';
import { openSync, writeAll } from '../linux/index.ts';

/**
 * Takes the bytes of a file. As long as they are those of the file that is there, nothing is written. From the first
 * difference on, a new file is written, which begins with what was the same.
 */
export class ComingFile {
  readonly #hash = new BlockHash();
  readonly #create: () => number;
  /** The new file, if there is one already. */
  #fd: number | undefined;
  /** The file that is there. */
  #old: number | undefined;
  /** How many bytes are the same. */
  #same = 0;
  #block: Buffer | undefined;

  /** `old`: the path of the file that is there. `create` takes it away and opens a new one in its place. */
  constructor(old: string | undefined, create: () => number) {
    this.#create = create;
    if (old === undefined) this.#fd = create();
    else this.#old = openSync(old, 'r');
  }

  /** The new file; undefined when the file that is there is the same. */
  get fd(): number | undefined {
    return this.#fd;
  }

  push(chunk: Uint8Array): void {
    this.#hash.push(chunk);
    let from = 0;
    while (this.#fd === undefined && from < chunk.length) {
      const n = this.#read(this.#same, chunk.length - from);
      if (n > 0 && this.#block?.compare(chunk, from, from + n, 0, n) === 0) {
        this.#same += n;
        from += n;
      } else this.#fd = this.#differ();
    }
    if (this.#fd !== undefined) writeAll(this.#fd, chunk.subarray(from));
  }

  /** The digest of all bytes. Nothing may be pushed afterwards. */
  digest(): string {
    return this.#hash.digest();
  }

  close(): void {
    for (const fd of [this.#fd, this.#old]) if (fd !== undefined) closeSync(fd);
    this.#fd = undefined;
    this.#old = undefined;
  }

  /** Begins the new file with the bytes that were the same. */
  #differ(): number {
    const fd = this.#create();
    for (let at = 0; at < this.#same; ) {
      const n = this.#read(at, this.#same - at);
      if (n === 0) throw new Error('a file of the last archive has become shorter');
      writeAll(fd, (this.#block as Buffer).subarray(0, n));
      at += n;
    }
    return fd;
  }

  #read(at: number, length: number): number {
    this.#block ??= Buffer.allocUnsafe(blockSize);
    return readSync(this.#old as number, this.#block, 0, Math.min(length, blockSize), at);
  }
}
