import { randomUUID } from 'node:crypto';
import { fail, throwIfAborted } from '../errors/index.ts';
import { hasLinked, specOfMounts } from '../fs/index.ts';
import { type RefContext, type Store, snapshotLabels } from '../store/index.ts';
import { runTask } from '../workers/index.ts';

/** The keys of a committed snapshot and all below it, lowest first. Throws `not-found`. */
export async function chainOf(store: Store, key: string): Promise<string[]> {
  const chain = await store.snapshots.chain(key);
  if (chain.length === 0) throw fail('not-found', 'store', `the snapshot ${key} is gone`);
  return chain.map((info) => info.key);
}

/**
 * Lays the layers of several snapshots (lowest first) on another parent and returns the topmost snapshot: `key`, if one
 * is given. Each snapshot adds the changes that it made to its own tree. Nothing is copied: a layer is shared or, where
 * it fits only its own tree, made anew of the same files. Only for stores that have `snapshots.restack`. Throws
 * `exists` when `key` is taken.
 *
 *     await restack(store, ['a', 'b'], 'base', { lease }); // base, then a's layer, then b's
 */
export async function restack(
  store: Store,
  layers: readonly string[],
  parent: string | undefined,
  ctx: RefContext,
  key?: string,
): Promise<string | undefined> {
  let top = parent;
  for (const [i, layer] of layers.entries()) {
    throwIfAborted(ctx.signal);
    const isLast = i === layers.length - 1;
    const name = isLast && key !== undefined ? key : `restack-${randomUUID()}`;
    if (store.snapshots.restack === undefined)
      throw fail('internal', 'store', 'this store cannot restack layers');
    if (!(await move(store, layer, { name, parent: top }, ctx))) {
      await store.snapshots.restack(name, layer, top, { lease: ctx.lease });
    }
    top = name;
  }
  return top;
}

/** Labels that stay true of a layer's changes in whatever form they are written. */
const kept: readonly string[] = [snapshotLabels.createdBy, snapshotLabels.madeAt, snapshotLabels.madeBy];

/**
 * Makes a new snapshot of a layer that fits only its own tree, or has files that the tree below has at other paths; false
 * when the layer can be shared.
 */
async function move(
  store: Store,
  layer: string,
  to: { name: string; parent: string | undefined },
  ctx: RefContext,
): Promise<boolean> {
  const { snapshots } = store;
  const info = await snapshots.stat(layer);
  const isOwn = info?.labels[snapshotLabels.createdBy] !== undefined;
  if (info === undefined) return false;
  const view = await snapshots.view(layer);
  const key = `restack-active-${randomUUID()}`;
  try {
    const [dir, ...below] = dirsOf(specOfMounts(view.mounts));
    if (dir === undefined) throw fail('internal', 'store', `snapshot ${layer} has no folder`);
    const { signal } = ctx;
    const copied = isOwn && (await shares(store, dir, to.parent, signal));
    if (!copied) {
      // A layer that we made on nothing hides nothing.
      if (isOwn && info.parent === undefined) return false;
      // An image's layer keeps all its entries, so that its blob stays true.
      if (await runTask('ops.movable', { dir, below, exact: isOwn }, { signal })) return false;
    }
    const [target] = dirsOf(specOfMounts(await snapshots.prepare(key, to.parent, { lease: ctx.lease })));
    if (target === undefined) throw fail('internal', 'store', `snapshot ${key} has no folder to write to`);
    await runTask('ops.move', { dir, below, to: target, copied }, { signal });
    const labels = Object.fromEntries(Object.entries(info.labels).filter(([name]) => kept.includes(name)));
    labels[snapshotLabels.madeAt] ??= String(info.createdAt);
    await snapshots.commit(to.name, key, { lease: ctx.lease, labels });
    return true;
  } catch (err) {
    await snapshots.remove(key).catch(() => {});
    throw err;
  } finally {
    await view.release();
  }
}

/** Whether a layer has a client's file that a layer of another snapshot has, too. */
async function shares(
  store: Store,
  layer: string,
  snapshot: string | undefined,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (snapshot === undefined || !hasLinked(layer)) return false;
  const view = await store.snapshots.view(snapshot);
  try {
    const others = dirsOf(specOfMounts(view.mounts));
    return await runTask('fs.shares', { layer, others }, { signal });
  } finally {
    await view.release();
  }
}

function dirsOf(spec: ReturnType<typeof specOfMounts>): string[] {
  return spec.kind === 'layers' ? spec.dirs : [];
}
