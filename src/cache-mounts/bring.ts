/** Brings a cache mount back from where it was exported to. */
import { chmodSync, chownSync } from 'node:fs';
import { fail } from '../errors/index.ts';
import { Limiter } from '../flow/index.ts';
import type { KeptFolders, KeptFound, KeptKey } from '../kept/index.ts';
import { unpackOnto } from '../layer/index.ts';
import type { ForeignMount } from '../solver/index.ts';
import type { RefContext, Store } from '../store/index.ts';
import { runTask } from '../workers/index.ts';
import { newList, saveState, statesOf } from './states.ts';

interface BringContext extends RefContext {
  /** Takes the place of a mount that is here, whichever is newer. */
  replace?: boolean;
}

/** How many layers are fetched at one time. */
const atOnce = 4;

/**
 * Whether a mount from elsewhere is newer than the one here: it was exported after this one was last used, and this one
 * did not come of the same layers. One that holds nothing is older than all.
 */
export function isNewer(foreign: ForeignMount, here: KeptFound | undefined): boolean {
  if (here === undefined) return true;
  if (here.lastUsedAt >= foreign.madeAt) return false;
  return !statesOf(here.instance).some(({ layers }) => isSame(layers, foreign.layers));
}

/**
 * Brings a mount back unless the one here is newer or in use; returns whether it did. The mount here stays as it is
 * until the other is here in full. Throws the errors of fetching, and `corrupt`.
 */
export async function bringMount(
  store: Store,
  caches: KeptFolders,
  key: KeptKey,
  foreign: ForeignMount,
  ctx: BringContext,
): Promise<boolean> {
  if (ctx.replace !== true && !isNewer(foreign, caches.look(key))) return false;
  const limiter = new Limiter(atOnce);
  await Promise.all(
    foreign.layers.map(({ descriptor }) => limiter.run(() => foreign.bring(descriptor, ctx), ctx.signal)),
  );
  const before = caches.look(key);
  if (ctx.replace !== true && !isNewer(foreign, before)) return false;
  const held = caches.claimOf(key, 1);
  if (held === undefined) return false;
  try {
    const { mode, uid, gid } = foreign.root;
    await held.replace(async (dir) => {
      for (const { descriptor, diffId } of foreign.layers) {
        const { signal, report } = ctx;
        const unpacked = await unpackOnto(store, dir, descriptor, { signal, report });
        if (unpacked.diffId === diffId) continue;
        throw fail(
          'corrupt',
          'cache',
          `the layer ${descriptor.digest} holds ${unpacked.diffId}, not ${diffId}`,
        );
      }
      chownSync(dir, uid, gid);
      chmodSync(dir, mode & 0o7777);
    });
    const list = newList(held.beside(''));
    await runTask('layer.list', { dir: await held.data(), out: list }, { signal: ctx.signal });
    const { target, madeAt, root, layers } = foreign;
    saveState(held.beside(''), { target, at: madeAt, root, layers, list });
    return true;
  } finally {
    held.release();
  }
}

/** Whether two mounts are made of the same layers. */
function isSame(a: ForeignMount['layers'], b: ForeignMount['layers']): boolean {
  return a.length === b.length && a.every(({ diffId }, i) => diffId === b[i]?.diffId);
}
