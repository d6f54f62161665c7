/**
 * The output of steps that waits for the client, or for the steps before it: the last of each vertex in memory, the
 * rest in the same spool as that of slow followers (`shared/spool.ts`).
 */
import { frame, frameHeaderLength } from '../../../grpc/index.ts';
import { Spool, type SpoolOptions } from '../../shared/spool.ts';

/** How many characters of a vertex are in memory before they go to the spool, and of all vertices. */
const piece = 16 << 10;
const inMemory = 4 << 20;

export const leftOut =
  '[output left out: the build has written more than is kept for clients that are slow]\n';

interface Held {
  /** The places and lengths of the frames in the spool, and how many of them were taken. */
  frames: { at: number; length: number }[];
  taken: number;
  /** What came after that. */
  rest: string;
  /** Whether output was left out after `rest`, as the spool took no more. */
  clipped: boolean;
}

/** Text of many vertices, each taken in its order. `close` gives the file back. */
export class HeldOutput {
  readonly #options: SpoolOptions;
  readonly #held = new Map<string, Held>();
  #spool: Spool;
  /** The characters in memory, and the frames that were not taken. */
  #length = 0;
  #frames = 0;

  constructor(options: SpoolOptions) {
    this.#options = options;
    this.#spool = new Spool(options);
  }

  add(vertex: string, text: string): void {
    if (text === '') return;
    let held = this.#held.get(vertex);
    if (held === undefined) {
      held = { frames: [], taken: 0, rest: '', clipped: false };
      this.#held.set(vertex, held);
    }
    if (held.clipped) return;
    held.rest += text;
    this.#length += text.length;
    if (held.rest.length >= piece) this.#keep(held);
    if (this.#length >= inMemory) for (const each of this.#held.values()) this.#keep(each);
  }

  /** Whether something of a vertex waits. */
  has(vertex: string): boolean {
    return this.#held.has(vertex);
  }

  /** The next text of a vertex; undefined when none waits. */
  take(vertex: string): string | undefined {
    const held = this.#held.get(vertex);
    if (held === undefined) return undefined;
    const kept = held.frames[held.taken];
    if (kept !== undefined) {
      held.taken++;
      if (held.taken === held.frames.length && held.rest === '') this.#held.delete(vertex);
      const text = this.#spool.read(kept.at, kept.length).toString('utf8', frameHeaderLength);
      if (--this.#frames === 0) this.#begin();
      return text;
    }
    this.#held.delete(vertex);
    this.#length -= held.rest.length;
    return held.clipped ? `${held.rest}\n${leftOut}` : held.rest;
  }

  close(): void {
    this.#held.clear();
    this.#spool.close();
  }

  /** Moves the rest to the spool. What a full spool does not take stays in memory, and nothing more is added to it. */
  #keep(held: Held): void {
    if (held.rest === '') return;
    const frames = frame(Buffer.from(held.rest));
    const at = this.#spool.size;
    if (!this.#spool.append(frames)) {
      held.clipped = true;
      return;
    }
    held.frames.push({ at, length: frames.length });
    this.#frames++;
    this.#length -= held.rest.length;
    held.rest = '';
  }

  /** Begins a new file, as all that was in the one before is taken. */
  #begin(): void {
    this.#spool.close();
    this.#spool = new Spool(this.#options);
  }
}
