/**
 * Memory that two threads share, for bytes on their way from one to the other. Handing memory over for each batch would
 * have the garbage collectors of both run all the time, since they count all of it.
 */

/** A batch of bytes in a ring. */
export interface RingPart {
  at: number;
  length: number;
}

/** The first memory of a ring; most transfers need no more. */
const smallest = 256 << 10;

/**
 * The writing end. Its memory is an array at first small, then as large as was allowed: the reader is told of each new
 * one before parts in it. Parts are given back in the order in which they were written.
 */
export class RingWriter {
  readonly #most: number;
  readonly #tell: (memory: SharedArrayBuffer) => void;
  #bytes: Uint8Array | undefined;
  /** Where the next byte goes. */
  #at = 0;
  /** The bytes of the present memory that the reader has not given back, in parts with the gaps before them. */
  #used = 0;
  /** The parts that are out, with the memory that they are in. */
  readonly #out: { bytes: Uint8Array; taken: number }[] = [];

  /** `most`: the bytes of the largest memory; `tell` hands new memory to the reader. */
  constructor(most: number, tell: (memory: SharedArrayBuffer) => void) {
    this.#most = most;
    this.#tell = tell;
  }

  /**
   * Copies chunks of `length` bytes together into the ring, one after the other. Returns undefined when there is no
   * room for all of them in one piece now.
   */
  write(chunks: readonly Uint8Array[], length: number): RingPart | undefined {
    const at = this.#room(length);
    if (at === undefined) return undefined;
    const bytes = this.#bytes as Uint8Array;
    let next = at;
    for (const chunk of chunks) {
      bytes.set(chunk, next);
      next += chunk.length;
    }
    const skipped = at >= this.#at ? at - this.#at : bytes.length - this.#at + at;
    this.#out.push({ bytes, taken: skipped + length });
    this.#used += skipped + length;
    this.#at = next;
    return { at, length };
  }

  /** Frees the oldest part. */
  free(): void {
    const part = this.#out.shift();
    if (part?.bytes === this.#bytes) this.#used -= part?.taken ?? 0;
  }

  /** Where a piece of `length` bytes goes. */
  #room(length: number): number | undefined {
    const found = this.#find(length);
    if (found !== undefined || length > this.#most) return found;
    const now = this.#bytes?.length ?? 0;
    if (now === this.#most) return undefined;
    const next = now === 0 && length <= smallest ? smallest : this.#most;
    const memory = new SharedArrayBuffer(Math.min(next, this.#most));
    this.#bytes = new Uint8Array(memory);
    this.#at = 0;
    this.#used = 0;
    this.#tell(memory);
    return 0;
  }

  #find(length: number): number | undefined {
    const size = this.#bytes?.length ?? 0;
    if (this.#used === 0) this.#at = 0;
    const free = size - this.#used;
    if (this.#at + length <= size) {
      // What lies before the oldest part that is out is in front of `at` only after a turn.
      return length <= free ? this.#at : undefined;
    }
    return size - this.#at + length <= free ? 0 : undefined;
  }
}

/** The reading end. */
export class RingReader {
  #memory: Buffer | undefined;

  /** Takes the memory that parts are in from now on. */
  use(memory: SharedArrayBuffer): void {
    this.#memory = Buffer.from(memory);
  }

  /** The bytes of a part, until it is given back. */
  read({ at, length }: RingPart): Buffer {
    return (this.#memory as Buffer).subarray(at, at + length);
  }
}
