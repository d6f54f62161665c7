/** Keeps namespaces ready, so that a step does not wait for its network. */
import type { Ready } from './provider.ts';
import { closeCounters, isAsBefore, type Trace, traceOf } from './trace.ts';

interface PoolOptions {
  /** So many are kept ready at most. */
  most: number;
  /**
   * Keeps as many ready as were in use at once, for the builds to come. Otherwise no more are made than there are steps
   * that were announced.
   */
  lasts: boolean;
  /** So many steps were announced and have not begun. */
  announced(): number;
}

/** A namespace for one step. */
export interface Taken {
  prepared: Ready;
  /** Gives it back. `isClean`: no process of the step is left, and none could change the namespace itself. */
  give(isClean: boolean): void;
}

/**
 * A pool of prepared namespaces. One that a step has not used (it has sent nothing and left nothing) goes to the next
 * one that comes; others are thrown away after their step.
 */
export class Pool {
  readonly #prepare: () => Promise<Ready>;
  readonly #options: PoolOptions;
  readonly #ready: Ready[] = [];
  readonly #making = new Set<Promise<void>>();
  /** So many are held by steps. */
  #used = 0;
  #peak = 1;
  #isClosed = false;

  constructor(prepare: () => Promise<Ready>, options: PoolOptions) {
    this.#prepare = prepare;
    this.#options = options;
  }

  /** Makes the first one. Throws what keeps it from being made. */
  async begin(): Promise<void> {
    this.#ready.push(await this.#prepare());
  }

  /** One that is ready, or a new one. */
  async take(): Promise<Taken> {
    const ready = this.#ready.shift();
    this.#used++;
    this.#peak = Math.min(this.#options.most, Math.max(this.#peak, this.#used));
    this.fill();
    const prepared = ready ?? (await this.#make());
    const before = traceOf(prepared.counters);
    let isGiven = false;
    return {
      prepared,
      give: (isClean) => {
        if (isGiven) return;
        isGiven = true;
        this.#used--;
        if (isClean && this.#mayKeep && isUnused(prepared, before)) this.#ready.push(prepared);
        else discard(prepared);
      },
    };
  }

  async #make(): Promise<Ready> {
    try {
      return await this.#prepare();
    } catch (err) {
      this.#used--;
      throw err;
    }
  }

  /** So many should be ready. */
  get #wanted(): number {
    const { most, lasts, announced } = this.#options;
    return Math.min(this.#peak, most, lasts ? most : announced());
  }

  /** Whether one more that is there already may wait for the next step. */
  get #mayKeep(): boolean {
    const { most, lasts, announced } = this.#options;
    // One more than is made ready: the next step then has none made in the place of its own.
    return !this.#isClosed && this.#ready.length < Math.min(most, lasts ? this.#peak + 1 : announced());
  }

  /** Has as many made as are wanted. */
  fill(): void {
    while (!this.#isClosed && this.#ready.length + this.#making.size < this.#wanted) {
      const making = this.#prepare().then(
        (prepared) => {
          if (this.#isClosed) discard(prepared);
          else this.#ready.push(prepared);
        },
        // The step that needs one hears why it cannot be made.
        () => {},
      );
      this.#making.add(making);
      void making.then(() => this.#making.delete(making));
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#making);
    for (const prepared of this.#ready.splice(0)) discard(prepared);
  }
}

function isUnused({ counters }: Ready, before: Trace): boolean {
  return isAsBefore(before, traceOf(counters));
}

/** Disconnects one and closes all that belongs to it. */
export function discard({ counters, resolver, dispose }: Ready): void {
  closeCounters(counters);
  resolver.close();
  dispose();
}
