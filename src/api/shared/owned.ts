/** Things by their owner and by the name that the owner gave them. Two owners' things of one name are two things. */
import type { Reach } from '../../auth/index.ts';
import { Arrivals } from '../../flow/index.ts';

/**
 * How long a request waits for a thing to come, in ms, as in BuildKit: clients start both at the same time, and a large
 * definition takes longer to come.
 */
const waitMs = 6000;

/** A table of things that belong to owners. */
export class Owned<T> {
  /** A name → its owners → their things. */
  readonly #things = new Map<string, Map<string, T>>();
  readonly #arrivals = new Arrivals();

  /** Adds a thing, until the function that it returns is called. Undefined when the owner has a thing of this name. */
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

  /** The thing of a name that is within reach; one's own comes before another's. */
  get({ owner, all }: Reach, name: string): T | undefined {
    const same = this.#things.get(name);
    const own = same?.get(owner);
    if (own !== undefined || !all) return own;
    for (const thing of same?.values() ?? []) return thing;
    return undefined;
  }

  /**
   * The same, after a wait of up to six seconds; undefined when it does not come. A thing that is there but out of
   * reach is waited for like one that is not, so that the time of the answer does not tell that it is there.
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
