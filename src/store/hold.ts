/**
 * Helpers for things that other callers may remove, or make, at the same time: they put a thing that may be gone under a
 * lease, and make a thing that may exist by then.
 */
import { DrydockError, fail } from '../errors/index.ts';
import { inParallel, pause } from '../flow/index.ts';
import type { Digest } from '../oci/index.ts';
import { type Ref, snapshotKeys } from './ref.ts';
import type { ContentWriter, LeaseResource, Store, WriterOptions } from './store.ts';

/**
 * Puts a thing under a lease; false when the thing is gone. Throws `not-found` when the lease is missing: that is a
 * mistake of the caller, not a miss.
 */
export async function hold(store: Store, lease: string, thing: LeaseResource): Promise<boolean> {
  try {
    await store.leases.add(lease, thing);
    return true;
  } catch (err) {
    if (!(err instanceof DrydockError) || err.code !== 'not-found') throw err;
    if (await isThere(store, thing)) throw err;
    return false;
  }
}

/** Tells a missing thing from a missing lease. */
async function isThere({ content, snapshots }: Store, thing: LeaseResource): Promise<boolean> {
  const found = thing.type === 'blob' ? await content.info(thing.id) : await snapshots.stat(thing.id);
  return found !== undefined;
}

/** Puts a snapshot under a lease; false when it is gone, or not whole any more. Throws as `hold` does. */
export async function holdSnapshot(store: Store, lease: string, key: string): Promise<boolean> {
  return (await hold(store, lease, { type: 'snapshot', id: key })) && store.snapshots.intact(key);
}

/**
 * Puts snapshots under a lease, with one call for all if the store can; false when one is gone, or not whole any more.
 * Throws `not-found` when the lease is missing.
 */
export async function holdSnapshots(store: Store, lease: string, keys: readonly string[]): Promise<boolean> {
  if (keys.length === 1) return holdSnapshot(store, lease, keys[0] as string);
  if (keys.length === 0) return true;
  const things = keys.map((id) => ({ type: 'snapshot' as const, id }));
  if (!(await store.leases.addAll(lease, things)).every(Boolean)) return false;
  return (await inParallel(keys, (key) => store.snapshots.intact(key))).every(Boolean);
}

/** Puts snapshots that must exist under a lease, all at once. Throws `not-found` when one of them, or the lease, is missing. */
export async function keepSnapshots(store: Store, lease: string, keys: readonly string[]): Promise<void> {
  const things = keys.map((id) => ({ type: 'snapshot' as const, id }));
  const there = await store.leases.addAll(lease, things);
  const gone = keys.find((_, i) => there[i] === false);
  if (gone !== undefined) throw fail('not-found', 'store', `there is no snapshot ${gone} to keep`);
}

/** Puts the snapshots that trees are in, as far as they are in any, under a lease. Throws as `keepSnapshots` does. */
export async function keepTrees(
  store: Store,
  lease: string,
  refs: readonly (Ref | undefined)[],
): Promise<void> {
  await keepSnapshots(
    store,
    lease,
    refs.flatMap((ref) => snapshotKeys(ref?.serialize())),
  );
}

/**
 * Puts the snapshot that has a chain ID under a lease and returns its key; undefined when there is none, it is not whole
 * any more, or `chain` is undefined (a stack of no layers). Throws as `hold` does.
 */
export async function holdChain(
  store: Store,
  lease: string,
  chain: Digest | undefined,
): Promise<string | undefined> {
  const found = chain === undefined ? undefined : await store.snapshots.byChain(chain);
  if (found === undefined || !(await store.snapshots.intact(found.key))) return undefined;
  return (await hold(store, lease, { type: 'snapshot', id: found.key })) ? found.key : undefined;
}

/**
 * Waits for a blob or snapshot to be made; undefined when the store throws `exists`: another caller was faster, and its
 * equal result is under the lease. Throws all other errors.
 *
 *     await unlessThere(snapshots.commit(name, active, { lease }));
 */
export async function unlessThere<T>(making: Promise<T>): Promise<T | undefined> {
  try {
    return await making;
  } catch (err) {
    if (err instanceof DrydockError && err.code === 'exists') return undefined;
    throw err;
  }
}

/**
 * Opens the writer of an ingest as soon as no other process has it open; undefined when the blob is there already (it is
 * under the lease then). `waiting` is called each time another writer is found. Throws `canceled` when the signal fires
 * while it waits, and the errors of `Content.writer`.
 *
 *     const writer = await writerInTurn(store, `fetch-${digest}`, { lease, expected: { digest } }, signal);
 *     if (writer !== undefined) await fill(writer);
 */
export async function writerInTurn(
  store: Store,
  ref: string,
  options: WriterOptions,
  signal?: AbortSignal,
  waiting?: () => void,
): Promise<ContentWriter | undefined> {
  for (;;) {
    try {
      return await unlessThere(store.content.writer(ref, options));
    } catch (err) {
      if (!(err instanceof DrydockError) || err.code !== 'conflict') throw err;
    }
    waiting?.();
    await pause(150, signal);
  }
}
