/** Moves a layer that was unpacked by itself into its place on the layers below it. */

import { fail } from '../errors/index.ts';
import { lstatHost, type Mount, specOfMounts } from '../fs/index.ts';
import {
  chmodSync,
  lchownSync,
  lgetxattr,
  llistxattr,
  lsetxattr,
  lutimesNs,
  readdirSync,
  renameSync,
} from '../linux/index.ts';

/**
 * Moves what is in the layer of one snapshot into the empty layer of another one on the same filesystem: its files, and the
 * root folder's extended attributes, such as the mark that hides all that is below. `hasRoot`: the owner, mode and time of
 * the root folder, too.
 *
 *     moveLayer(await snapshots.mounts('ahead'), await snapshots.prepare('active', parent, { lease }), true);
 */
export function moveLayer(from: readonly Mount[], to: readonly Mount[], hasRoot: boolean): void {
  const source = layerOf(from);
  const target = layerOf(to);
  for (const name of readdirSync(source)) renameSync(`${source}/${name}`, `${target}/${name}`);
  for (const name of llistxattr(source)) {
    const value = lgetxattr(source, name);
    if (value !== undefined) lsetxattr(target, name, value);
  }
  const root = hasRoot ? lstatHost(source) : undefined;
  if (root === undefined) return;
  lchownSync(target, root.uid, root.gid);
  chmodSync(target, root.mode & 0o7777);
  lutimesNs(target, root.mtimeNs, root.mtimeNs);
}

function layerOf(mounts: readonly Mount[]): string {
  const spec = specOfMounts(mounts);
  const dir = spec.kind === 'layers' ? spec.dirs[0] : undefined;
  if (dir === undefined) throw fail('internal', 'store', 'a snapshot has no folder of its own');
  return dir;
}
