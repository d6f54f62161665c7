/** Copies a folder, seen through its filter, into a new snapshot. */
import { randomUUID } from 'node:crypto';
import { fail } from '../errors/index.ts';
import { specOfMounts, type ViewSpec } from '../fs/index.ts';
import type { RefContext, Store } from '../store/index.ts';
import { runTask } from '../workers/index.ts';

/** Returns the key of the committed snapshot. Leaves nothing behind when it throws. */
export async function seedFolder(
  store: Store,
  spec: Extract<ViewSpec, { kind: 'folder' }>,
  ctx: RefContext,
): Promise<string> {
  const { snapshots } = store;
  const key = `folder-${randomUUID()}`;
  const active = `${key}-active`;
  const mounts = await snapshots.prepare(active, undefined, { lease: ctx.lease });
  try {
    const target = specOfMounts(mounts);
    const dest = target.kind === 'layers' ? target.dirs[0] : undefined;
    if (dest === undefined) throw fail('internal', 'store', 'a new snapshot has no folder');
    await runTask('fs.seed', { spec, dest }, { signal: ctx.signal });
    await snapshots.commit(key, active, { lease: ctx.lease });
    return key;
  } catch (err) {
    await snapshots.remove(active).catch(() => {});
    throw err;
  }
}
