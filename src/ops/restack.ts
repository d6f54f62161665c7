import { randomUUID } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { copyAll, writeSnapshot } from '../apply/snapshot.ts';
import { fail, throwIfAborted } from '../errors/error.ts';
import type { FileActionSpec } from '../fs/actions.ts';
import { specOfMounts, type ViewSpec } from '../fs/view.ts';
import { lgetxattr } from '../linux/libc.ts';
import type { RefContext } from '../store/ref.ts';
import type { Store } from '../store/store.ts';

/** Keys of the committed snapshots a snapshot stands on, lowest first, itself last. */
export async function chainOf(store: Store, key: string): Promise<string[]> {
  const chain: string[] = [];
  for (let at: string | undefined = key; at !== undefined; ) {
    chain.push(at);
    const info = await store.snapshots.stat(at);
    if (info === undefined) throw fail('not-found', 'store', `snapshot ${at} is gone`);
    at = info.parent;
  }
  return chain.reverse();
}

/**
 * Makes the committed snapshot `name`: the own layer of `source` on another parent. Without copying where the store
 * can; else what the layer adds is copied and what it deletes is deleted.
 */
export async function restack(
  store: Store,
  name: string,
  source: string,
  parent: string | undefined,
  ctx: RefContext,
): Promise<void> {
  throwIfAborted(ctx.signal);
  if (store.snapshots.restack !== undefined) {
    await store.snapshots.restack(name, source, parent, { lease: ctx.lease });
    return;
  }
  const view = await store.snapshots.view(source);
  try {
    const own = ownLayer(specOfMounts(view.mounts));
    const actions: FileActionSpec[] = [];
    if (own !== undefined) {
      for await (const path of deleted(own)) {
        actions.push({ kind: 'rm', path, allowNotFound: true, allowWildcard: false });
      }
      actions.push(copyAll({ kind: 'layers', dirs: [own] }));
    }
    await writeSnapshot(store, { name, key: `restack-${randomUUID()}`, parent, actions }, ctx);
  } finally {
    await view.release();
  }
}

function ownLayer(spec: ViewSpec): string | undefined {
  return spec.kind === 'layers' ? spec.dirs[0] : undefined;
}

/** Paths that a layer folder hides: whiteouts, and the folders it replaces. */
async function* deleted(layer: string): AsyncGenerator<string> {
  const folders = ['/'];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(join(layer, folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        folders.push(path);
        if (lgetxattr(join(layer, path), 'trusted.overlay.opaque')?.toString() === 'y') yield path;
      } else if (entry.isCharacterDevice() && (await stat(join(layer, path))).rdev === 0) yield path;
    }
  }
}
