/** Wakes callers who wait for something with a name to arrive. */
export class Arrivals {
  readonly #waiting = new Map<string, Set<() => void>>();

  /** Wakes all callers who wait for this name. */
  tell(name: string): void {
    for (const wake of [...(this.#waiting.get(name) ?? [])]) wake();
  }

  /** Resolves when something of this name has arrived, after `ms` milliseconds, or when the signal fires. */
  next(name: string, ms: number, signal?: AbortSignal): Promise<void> {
    const waiting = this.#waiting.get(name) ?? new Set();
    this.#waiting.set(name, waiting);
    return new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        waiting.delete(done);
        if (waiting.size === 0 && this.#waiting.get(name) === waiting) this.#waiting.delete(name);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener('abort', done, { once: true });
      waiting.add(done);
    });
  }
}
