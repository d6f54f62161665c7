import { DrydockError, throwIfAborted } from '../errors/index.ts';
import { orAbort } from './or-abort.ts';

/**
 * Runs equal work once for all callers who want it at the same time. It belongs to an object that these callers share.
 */
export class SingleFlight {
  readonly #running = new Map<string, Promise<unknown>>();

  /** Whether work of a key is under way. */
  has(key: string): boolean {
    return this.#running.has(key);
  }

  /**
   * Runs the work of a key, or waits for a run of it that is under way. When that run is given up by its own caller,
   * the next waiting caller runs its own `work`, with its own lease and signal. Throws the work's errors, and
   * `canceled` when the caller's signal fires.
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
