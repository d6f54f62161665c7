/** Things by whose they are and by the name that their owner gave them: two owners' things of one name are two. */
import type { Reach } from '../../auth/index.ts';
import { Arrivals } from '../../flow/index.ts';

/** How long one who asks for a thing waits for it to come: clients start both at once. */
const waitMs = 3000;

export class Owned<T> {
  /** name → owner → thing */
  readonly #things = new Map<string, Map<string, T>>();
  readonly #arrivals = new Arrivals();

  /** Adds a thing until the function it returns is called; undefined when its owner has one of this name. */
  add(owner: string, name: string, thing: T): (() => void) | undefined {
    const same = this.#things.get(name) ?? new Map<string, T>();
    if (same.has(owner)) return undefined;
    this.#things.set(name, same.set(owner, thing));
    this.#arrivals.tell(name);
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
      await this.#arrivals.next(name, left, signal);
    }
  }
}
