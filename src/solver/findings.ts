import type { Digest } from '../oci/index.ts';

/**
 * What was found out of the contents of a vertex's outputs.
 *
 * They begin with nothing. Whoever needs the digest of a selection first has it found, and it stays for all others.
 * Several may be found at the same time: they are counted together, and shown as one transfer. `Contents` alone adds
 * to them.
 */
export class Findings {
  readonly #digests = new Map<string, Promise<Digest>>();
  readonly #sums = new Map<string, Promise<readonly Digest[]>>();
  #readings = 0;
  #bytes = 0;
  #isShown: boolean | undefined;

  /** The content digest of a selection of an output, found the first time. */
  digest(selection: string, find: () => Promise<Digest>): Promise<Digest> {
    let digest = this.#digests.get(selection);
    if (digest === undefined) {
      digest = find();
      this.#digests.set(selection, digest);
    }
    return digest;
  }

  /** The names that other builders have for a selection's content, found the first time. */
  sums(selection: string, find: () => Promise<readonly Digest[]>): Promise<readonly Digest[]> {
    let sums = this.#sums.get(selection);
    if (sums === undefined) {
      sums = find();
      this.#sums.set(selection, sums);
    }
    return sums;
  }

  /** How many digests are being found. */
  get readings(): number {
    return this.#readings;
  }

  beginReading(): void {
    this.#readings++;
  }

  endReading(): void {
    this.#readings--;
  }

  /** Adds bytes that a digest covers; returns how many all of them cover so far. */
  add(bytes: number): number {
    this.#bytes += bytes;
    return this.#bytes;
  }

  /** Whether the bytes are shown to people; `decide` is asked the first time. */
  isShown(decide: () => boolean): boolean {
    this.#isShown ??= decide();
    return this.#isShown;
  }
}
