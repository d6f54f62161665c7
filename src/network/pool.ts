/** Keeps namespaces ready, so that a step does not wait for its network. */
import type { Ready } from './provider.ts';
import { closeCounters, type Trace, traceOf, type Use, useBetween } from './trace.ts';

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
  /** Those that wait for a second look. */
  readonly #unsure = new Map<Ready, NodeJS.Timeout>();
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
        const use = isClean && this.#mayKeep ? useSince(before, prepared) : 'used';
        if (use === 'unsure') this.#lookAgain(prepared, before);
        else this.#put(prepared, use);
      },
    };
  }

  #put(prepared: Ready, use: Use): void {
    if (use === 'unused' && this.#mayKeep) this.#ready.push(prepared);
    else discard(prepared);
  }

  /** Decides when a packet of the kernel is surely counted as such. */
  #lookAgain(prepared: Ready, before: Trace): void {
    const timer = setTimeout(() => {
      this.#unsure.delete(prepared);
      this.#put(prepared, useSince(before, prepared));
    }, 50);
    this.#unsure.set(prepared, timer);
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
    for (const timer of this.#unsure.values()) clearTimeout(timer);
    for (const prepared of [...this.#ready.splice(0), ...this.#unsure.keys()]) discard(prepared);
    this.#unsure.clear();
  }
}

function useSince(before: Trace, { counters }: Ready): Use {
  return useBetween(before, traceOf(counters));
}

/** Disconnects one and closes all that belongs to it. */
export function discard({ counters, resolver, dispose }: Ready): void {
  closeCounters(counters);
  resolver.close();
  dispose();
}
