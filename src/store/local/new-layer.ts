/** The folder of a new layer: `fs` has its files, `work` is overlayfs' own. */
import { randomUUID } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode } from '../../errors/index.ts';
import { lchownSync, markTop } from '../../linux/index.ts';
import { layerFolder } from './layout.ts';
import type { LocalParts } from './shared.ts';

/** Makes the folder of a new layer, after removing one that was left by a process killed before its transaction ended. */
export function makeFolder({ layout, trash }: LocalParts, layer: number): string {
  const folder = layerFolder(layout, layer);
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (err) {
    if (errnoCode(err) !== 'EEXIST') throw err;
    trash.take(folder);
    trash.empty();
    mkdirSync(folder, { mode: 0o700 });
  }
  return folder;
}

/** Makes the folders in a new layer's folder. `parent` is the layer below it. */
export function fillFolder(
  { layout, snapshotter }: LocalParts,
  folder: string,
  parent: number | undefined,
): void {
  // ext4 places a folder by its name: those of a store that was removed and begun anew would all lie where it was,
  // among the inodes that were just deleted.
  markTop(folder);
  const scattered = join(folder, randomUUID());
  mkdirSync(scattered, { mode: 0o755 });
  renameSync(scattered, join(folder, 'fs'));
  if (snapshotter === 'overlayfs') mkdirSync(join(folder, 'work'), { mode: 0o711 });
  likeParent(join(folder, 'fs'), parent === undefined ? undefined : join(layerFolder(layout, parent), 'fs'));
}

/** Gives the upper folder the owner and mode of the parent's root, since an overlay shows them as its root's. */
function likeParent(dir: string, parent: string | undefined): void {
  if (parent === undefined) {
    if ((process.umask() & 0o755) !== 0) chmodSync(dir, 0o755);
    return;
  }
  const stat = lstatSync(parent);
  const mine = lstatSync(dir);
  if (stat.uid !== mine.uid || stat.gid !== mine.gid) lchownSync(dir, stat.uid, stat.gid);
  if (stat.mode !== mine.mode) chmodSync(dir, stat.mode & 0o7777);
}

/** Removes a layer's folder unless it has a row: the id of a transaction that was undone may be in use again. */
export function clearOrphan({ db, layout, trash }: LocalParts, layer: number): void {
  db.write(() => {
    const row = db.get('SELECT 1 FROM layers WHERE id = ?', layer);
    if (row === undefined) trash.take(layerFolder(layout, layer));
  });
  trash.empty();
}
