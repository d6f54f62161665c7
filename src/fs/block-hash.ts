/** The digest of a file's bytes as `hashBlocks` makes it, of bytes that come one after the other. */
import { createHash, hash } from 'node:crypto';
import { blockSize, ZeroRuns, zeros } from './hash-blocks.ts';

export class BlockHash {
  readonly #sha = createHash('sha256');
  readonly #runs = new ZeroRuns();
  #block = 0;
  /** Bytes of the present block that have come. */
  #have = 0;
  /** Whether they were all zeros. They are hashed as soon as another byte comes. */
  #blank = true;

  /** Takes the next bytes of the file. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + blockSize - this.#have);
      this.#part(part);
      at += part.length;
      this.#have += part.length;
      if (this.#have < blockSize) continue;
      if (this.#blank) this.#runs.add(this.#block, 1);
      this.#block++;
      this.#have = 0;
      this.#blank = true;
    }
  }

  /** Returns the digest. Nothing may be pushed afterwards. */
  digest(): string {
    if (this.#blank) this.#sha.update(zeros.subarray(0, this.#have));
    return this.#runs.digest(this.#sha);
  }

  #part(part: Uint8Array): void {
    if (this.#blank && zeros.compare(part, 0, part.length, 0, part.length) === 0) return;
    if (this.#blank) this.#sha.update(zeros.subarray(0, this.#have));
    this.#blank = false;
    this.#sha.update(part);
  }
}

/** Returns the digest of a file with these bytes, which are less than a block. */
export function hashSmall(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}
