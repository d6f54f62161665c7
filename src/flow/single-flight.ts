import { DrydockError, throwIfAborted } from '../errors/index.ts';
import { orAbort } from './or-abort.ts';

/** One run of equal work for all who want it at the same time. Its owner is what they all have in common. */
export class SingleFlight {
  readonly #running = new Map<string, Promise<unknown>>();

  /**
   * Does the work under a key, or waits for the run of it that is on its way. When that one is given up by its own
   * caller, the next who waits does the work itself, with what is its own (a lease, a signal). Throws what the work
   * throws, and `canceled` when the own signal fires.
   */
  async run<T>(key: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    for (;;) {
      throwIfAborted(signal);
      const other = this.#running.get(key) as Promise<T> | undefined;
      if (other === undefined) {
        const own = work().finally(() => this.#running.delete(key));
        this.#running.set(key, own);
        return own;
      }
      try {
        return await orAbort(other, signal);
      } catch (err) {
        const theirs = err instanceof DrydockError && err.code === 'canceled' && !signal?.aborted;
        if (!theirs) throw err;
      }
    }
  }
}
