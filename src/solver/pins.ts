/**
 * What a build has found out about its sources. A source stays what it was when the build first asked for it, all
 * through the build, whatever becomes of the tag, the branch or the file meanwhile.
 */
import { DrydockError } from '../errors/index.ts';

export class Pins {
  readonly #known = new Map<string, Promise<unknown>>();
  /** Source identifier → what its client was told that it is. */
  readonly #told = new Map<string, Set<string>>();
  readonly #cleanups: (() => void | Promise<void>)[] = [];

  /** What `find` gave to whoever asked for the key first. One that failed is asked for again. */
  async pin<T>(key: string, find: () => Promise<T>): Promise<T> {
    for (let known = this.#known.get(key); known !== undefined; known = this.#known.get(key)) {
      try {
        return (await known) as T;
      } catch (err) {
        // Whoever asked first was given up: it is for the next one to find out.
        if (!(err instanceof DrydockError) || err.code !== 'canceled') throw err;
        this.#forget(key, known);
      }
    }
    const finding = find();
    this.#known.set(key, finding);
    finding.catch(() => this.#forget(key, finding));
    return finding;
  }

  /** What was found, or is being found, for a key. */
  get(key: string): Promise<unknown> | undefined {
    return this.#known.get(key);
  }

  /** Takes over what another build that shares the work has found; not what is known here already. */
  adopt(key: string, found: Promise<unknown>): void {
    if (!this.#known.has(key)) this.#known.set(key, found);
  }

  /** Notes that the build's client was told what a source is. */
  tell(identifier: string, what: string): void {
    const told = this.#told.get(identifier) ?? new Set();
    this.#told.set(identifier, told.add(what));
  }

  /** What the client was told of a source; '' when it has not asked. Vertices of builds that were told otherwise are others. */
  toldOf(identifier: string): string {
    return [...(this.#told.get(identifier) ?? [])].join(' ');
  }

  /** Registers what is to be done when the build is over. */
  onEnd(cleanup: () => void | Promise<void>): void {
    this.#cleanups.push(cleanup);
  }

  async end(): Promise<void> {
    for (let next = this.#cleanups.pop(); next !== undefined; next = this.#cleanups.pop()) await next();
  }

  #forget(key: string, found: Promise<unknown>): void {
    if (this.#known.get(key) === found) this.#known.delete(key);
  }
}
