/** One run of equal work for all in this process who want it at the same time. */
import { DrydockError, throwIfAborted } from '../errors/error.ts';
import { orAbort } from '../flow/or-abort.ts';

export type Running = Map<string, Promise<unknown>>;

const perStore = new WeakMap<object, Running>();

/** What runs on a store. Keys are of all who share work on it. */
export function runningOn(store: object): Running {
  let running = perStore.get(store);
  if (running === undefined) {
    running = new Map();
    perStore.set(store, running);
  }
  return running;
}

/**
 * Runs `work` under a key, or waits for the run that is on its way. When that one is given up by its own caller, the
 * next who waits takes over. `canceled` when the own signal fires.
 */
export async function shareRun<T>(
  running: Running,
  key: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  for (;;) {
    throwIfAborted(signal);
    const other = running.get(key) as Promise<T> | undefined;
    if (other === undefined) {
      const own = work().finally(() => running.delete(key));
      running.set(key, own);
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

/** Runs `work` after all that was to run under this key before it, whatever came of that. */
export async function inTurn<T>(running: Running, key: string, work: () => Promise<T>): Promise<T> {
  const before = running.get(key);
  const own = (async () => {
    await before?.catch(() => {});
    return work();
  })();
  running.set(key, own);
  try {
    return await own;
  } finally {
    if (running.get(key) === own) running.delete(key);
  }
}
