import { randomUUID } from 'node:crypto';
import { fail, throwIfAborted } from '../errors/error.ts';
import type { RefContext } from '../store/ref.ts';
import type { Store } from '../store/store.ts';

/** Keys of the committed snapshots a snapshot stands on, lowest first, itself last. Throws `not-found`. */
export async function chainOf(store: Store, key: string): Promise<string[]> {
  const chain = await store.snapshots.chain(key);
  if (chain.length === 0) throw fail('not-found', 'store', `the snapshot ${key} is gone`);
  return chain.map((info) => info.key);
}

/**
 * Stacks the own layers of snapshots, lowest first, on another parent, without copying, and returns the topmost.
 * Only for stores that can (`snapshots.restack`).
 */
export async function restack(
  store: Store,
  layers: readonly string[],
  parent: string | undefined,
  ctx: RefContext,
): Promise<string | undefined> {
  let top = parent;
  for (const layer of layers) {
    throwIfAborted(ctx.signal);
    const name = `restack-${randomUUID()}`;
    if (store.snapshots.restack === undefined)
      throw fail('internal', 'store', 'this store cannot restack layers');
    await store.snapshots.restack(name, layer, top, { lease: ctx.lease });
    top = name;
  }
  return top;
}
