import { randomUUID } from 'node:crypto';
import { letGo, type Store } from '../store/index.ts';

/**
 * The lease that keeps the snapshots and blobs of a vertex at work.
 *
 * It has its name from the start, so that ops can be told of it, and is made when something is first to be kept. A
 * cache record that the result goes into is given a lease of its own in the background; the vertex's one is given up
 * after that, once the vertex is retired. `ResultStore` alone makes it and gives it up.
 */
export class VertexLease {
  readonly name = `vertex-${randomUUID()}`;
  #made: Promise<void> | undefined;
  #recorded: Promise<unknown> | undefined;

  /** Resolves when the lease is there; makes it the first time. */
  make({ leases }: Store): Promise<void> {
    this.#made ??= leases.create(this.name);
    return this.#made;
  }

  /** Has the lease stay until a cache record keeps the result by itself; `recording` must not reject. */
  outlast(recording: Promise<unknown>): void {
    this.#recorded = Promise.all([this.#recorded, recording]);
  }

  /** Settles when the cache records written so far keep the result by themselves. */
  get recorded(): Promise<unknown> | undefined {
    return this.#recorded;
  }

  /** Gives the lease up, if it was ever made. */
  async drop(store: Store): Promise<void> {
    if (this.#made === undefined) return;
    await Promise.all([this.#made.catch(() => {}), this.#recorded]);
    await letGo(store, this.name);
  }
}
