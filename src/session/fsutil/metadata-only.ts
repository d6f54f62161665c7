/**
 * fsutil's metadata transfer: the descriptions of all files in a peer's folder come as one file, and only the files
 * whose paths match patterns come themselves.
 */
import { closeSync } from 'node:fs';
import { fail } from '../../errors/index.ts';
import { createFile, IgnoreMatcher } from '../../fs/index.ts';
import { chmodSync, rmSync, writeAll } from '../../linux/index.ts';
import { typeOf } from './mode.ts';
import type { Stat } from './packet.ts';

/** The file of descriptions, at the top of the folder. A file of this name at the peer is passed over. */
export const metadataFile = '.fsutil-metadata';

/** The most bytes of descriptions; a million files have some 100 MB. */
const largest = 512 << 20;

/** Sorts the files that a peer lists into those that are only described and those that are made. */
export class MetadataOnly {
  readonly #matcher: IgnoreMatcher;
  #descriptions = Buffer.allocUnsafe(64 << 10);
  #size = 0;
  /** The folders above the last path that were not made so far, the outermost first. */
  readonly #above: Stat[] = [];

  /** `patterns` choose the files that are made, as in a `.dockerignore`. Throws `invalid` for a malformed one. */
  constructor(patterns: readonly string[]) {
    this.#matcher = new IgnoreMatcher(patterns);
  }

  /**
   * Takes a description, in the order of the list; `bytes` are its form on the wire, and are copied. Returns the files
   * to make because of it: none, or itself after those of its folders that were not made yet.
   */
  take(stat: Stat, bytes: Uint8Array): Stat[] {
    this.#note(bytes);
    while (this.#above.length > 0 && !stat.path.startsWith(`${this.#above.at(-1)!.path}/`)) this.#above.pop();
    if (this.#matcher.matches(stat.path)) return [...this.#above.splice(0), stat];
    if (typeOf(stat.mode) === 'dir') this.#above.push(stat);
    return [];
  }

  /** Writes the file of descriptions: each as its length in 4 bytes, little-endian, and fsutil's protobuf message Stat. */
  write(dest: string): void {
    const path = `${dest}/${metadataFile}`;
    rmSync(path, { recursive: true, force: true });
    const file = createFile(path, 0o644);
    try {
      writeAll(file, this.#descriptions.subarray(0, this.#size));
    } finally {
      closeSync(file);
    }
    chmodSync(path, 0o644);
  }

  #note(bytes: Uint8Array): void {
    const start = this.#size;
    this.#size += 4 + bytes.length;
    if (this.#size > largest) {
      throw fail('exhausted', 'session', `the client lists more files than fit in ${largest >> 20} MiB`, {
        hint: 'Exclude what the build does not need with .dockerignore.',
      });
    }
    if (this.#size > this.#descriptions.length) {
      const larger = Buffer.allocUnsafe(this.#size * 2);
      this.#descriptions.copy(larger, 0, 0, start);
      this.#descriptions = larger;
    }
    this.#descriptions.writeUInt32LE(bytes.length, start);
    this.#descriptions.set(bytes, start + 4);
  }
}
