/** Things by whose they are and by the name that their owner gave them: two owners' things of one name are two. */
import type { Reach } from '../../auth/ownership.ts';

/** How long one who asks for a thing waits for it to come: clients start both at once. */
const waitMs = 3000;

export class Owned<T> {
  /** name → owner → thing */
  readonly #things = new Map<string, Map<string, T>>();
  readonly #waiting = new Map<string, Set<() => void>>();

  /** Adds a thing until the function it returns is called; undefined when its owner has one of this name. */
  add(owner: string, name: string, thing: T): (() => void) | undefined {
    const same = this.#things.get(name) ?? new Map<string, T>();
    if (same.has(owner)) return undefined;
    this.#things.set(name, same.set(owner, thing));
    for (const wake of [...(this.#waiting.get(name) ?? [])]) wake();
    return () => {
      if (same.get(owner) === thing) same.delete(owner);
      if (same.size === 0 && this.#things.get(name) === same) this.#things.delete(name);
    };
  }

  /** The thing of a name that is within reach, one's own before another's. */
  get({ owner, all }: Reach, name: string): T | undefined {
    const same = this.#things.get(name);
    const own = same?.get(owner);
    if (own !== undefined || !all) return own;
    for (const thing of same?.values() ?? []) return thing;
    return undefined;
  }

  /**
   * The same, waited for a little; undefined when it does not come. One that is there but out of reach is waited for
   * like one that is not: how long the answer takes does not tell that it is there.
   */
  async find(reach: Reach, name: string, signal?: AbortSignal): Promise<T | undefined> {
    const until = Date.now() + waitMs;
    for (;;) {
      const thing = this.get(reach, name);
      const left = until - Date.now();
      if (thing !== undefined || signal?.aborted || left <= 0) return thing;
      await this.#next(name, left, signal);
    }
  }

  /** Resolves when something of this name was added, the time is over, or the signal fires. */
  #next(name: string, ms: number, signal: AbortSignal | undefined): Promise<void> {
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
