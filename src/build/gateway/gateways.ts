/** The gateways of builds whose clients are their own frontends, by the build's id. */
import { fail } from '../../errors/error.ts';
import type { Gateway } from './gateway.ts';

/** How long a call waits for its build to come: clients start both at once. */
const waitMs = 3000;

export class Gateways {
  readonly #byId = new Map<string, Gateway>();
  readonly #waiting = new Map<string, Set<(gateway: Gateway) => void>>();

  /** Makes a gateway known until the function it returns is called. Throws `exists`. */
  register(id: string, gateway: Gateway): () => void {
    if (this.#byId.has(id)) throw fail('exists', 'client', `the build ${id} has a gateway already`);
    this.#byId.set(id, gateway);
    for (const resolve of this.#waiting.get(id) ?? []) resolve(gateway);
    this.#waiting.delete(id);
    return () => {
      if (this.#byId.get(id) === gateway) this.#byId.delete(id);
    };
  }

  /** The gateway of a build, waited for a little. Throws `invalid` without an id, `not-found` when it does not come. */
  async find(id: string, signal?: AbortSignal): Promise<Gateway> {
    if (id === '') throw fail('invalid', 'client', 'no buildid found in context');
    const found = this.#byId.get(id);
    if (found !== undefined) return found;
    const { promise, resolve, reject } = Promise.withResolvers<Gateway>();
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting.add(resolve));
    const late = () => reject(fail('not-found', 'client', `no such job ${id}`, { details: { job: id } }));
    const timer = setTimeout(late, waitMs);
    signal?.addEventListener('abort', late, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', late);
      waiting.delete(resolve);
      if (waiting.size === 0 && this.#waiting.get(id) === waiting) this.#waiting.delete(id);
    }
  }
}
