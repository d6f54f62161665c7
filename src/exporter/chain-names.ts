/** Gives the layers of an image the names that containerd looks for. */
import { chainIds, type Digest } from '../oci/index.ts';
import { hold, type Store, unlessThere } from '../store/index.ts';

/**
 * containerd takes an image as unpacked when the snapshot of each layer's stack is named by the stack's chain ID. This
 * gives the layers (lowest first) such snapshots, so that containers start from the image without unpacking it again,
 * and returns the topmost. Undefined where the store cannot put a layer on another one without copying.
 *
 *     const top = await nameByChains(store, ['exec-a', 'exec-b'], [diffIdA, diffIdB], lease);
 */
export async function nameByChains(
  store: Store,
  keys: readonly string[],
  diffIds: readonly Digest[],
  lease: string,
): Promise<string | undefined> {
  const { snapshots } = store;
  const names = chainIds(diffIds);
  // The highest that is there keeps those below it.
  let there = names.length - 1;
  while (there >= 0 && !(await isHeld(store, names[there] as Digest, lease))) there--;
  let parent = names[there];
  for (let i = there + 1; i < names.length; i++) {
    const name = names[i] as Digest;
    if (snapshots.restack === undefined) return undefined;
    await unlessThere(snapshots.restack(name, keys[i] as string, parent, { lease }));
    parent = name;
  }
  return parent;
}

/** Puts a committed snapshot under the lease; false when there is none. */
async function isHeld(store: Store, name: Digest, lease: string): Promise<boolean> {
  if ((await store.snapshots.stat(name))?.kind !== 'committed') return false;
  return hold(store, lease, { type: 'snapshot', id: name });
}
