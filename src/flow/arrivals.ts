/** Things that come under a name, and those who wait for them. */
export class Arrivals {
  readonly #waiting = new Map<string, Set<() => void>>();

  /** Wakes all who wait for something of this name. */
  tell(name: string): void {
    for (const wake of [...(this.#waiting.get(name) ?? [])]) wake();
  }

  /** Resolves when something of this name has come, `ms` milliseconds are over, or the signal fires. */
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
