import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode } from '../../errors/index.ts';
import { isDigest } from '../../oci/index.ts';
import { blobPath, layerFolder } from './layout.ts';
import { dropBlob, dropSnapshot, type LocalParts } from './shared.ts';

/**
 * Makes rows and files agree. A file or folder without a row, left by a process that was killed between the two, goes
 * to the trash. A row without its file (after a power cut, or by somebody's hand), or with a file of another size, is
 * forgotten together with the snapshots that stand on it. Returns one sentence for each forgotten row. Sizes and the
 * insides of layer folders are looked at only with `inside`, since that costs a system call for each.
 */
export function mend(shared: LocalParts, inside: boolean): string[] {
  const problems = shared.db.free(() => [
    ...mendBlobs(shared, inside),
    ...mendLayers(shared, inside),
    ...mendIngests(shared),
  ]);
  shared.trash.empty();
  return problems;
}

function mendBlobs({ db, layout, trash }: LocalParts, inside: boolean): string[] {
  const problems: string[] = [];
  const rows = new Map(
    db.all('SELECT digest, size FROM blobs').map((row) => [String(row.digest), Number(row.size)]),
  );
  for (const folder of list(layout.blobs)) {
    for (const name of list(join(layout.blobs, folder))) {
      const digest = `sha256:${name}`;
      const path = join(layout.blobs, folder, name);
      const size = rows.get(digest);
      if (size === undefined || !isDigest(digest) || path !== blobPath(layout, digest)) {
        trash.take(path);
        continue;
      }
      rows.delete(digest);
      if (!inside) continue;
      const have = statSync(path, { throwIfNoEntry: false })?.size;
      if (have === size) continue;
      problems.push(`the blob ${digest} had ${have} bytes, not ${size}; it was forgotten`);
      dropBlob(db, digest);
      trash.take(path);
    }
  }
  for (const digest of rows.keys()) {
    problems.push(`the file of the blob ${digest} was gone; it was forgotten`);
    dropBlob(db, digest);
  }
  return problems;
}

function mendLayers(shared: LocalParts, inside: boolean): string[] {
  const { db, layout, trash } = shared;
  const problems: string[] = [];
  const rows = new Set(db.all('SELECT id FROM layers').map((row) => String(row.id)));
  for (const name of list(layout.snapshots)) {
    if (!rows.has(name)) trash.take(join(layout.snapshots, name));
    else if (!inside || existsSync(join(layout.snapshots, name, 'fs'))) rows.delete(name);
  }
  for (const id of rows) {
    for (const key of forgetLayer(shared, Number(id))) {
      problems.push(`the folder of the snapshot ${key} or of one below it was gone; it was forgotten`);
    }
  }
  return problems;
}

/**
 * Forgets a layer whose folder is gone, with the snapshots that stand on it, and returns their keys. In a transaction.
 */
export function forgetLayer({ db, layout, trash }: LocalParts, id: number): string[] {
  const fallen = db
    .all(
      `WITH RECURSIVE fallen (key) AS (
         SELECT key FROM snapshots WHERE layer = ?
         UNION SELECT s.key FROM fallen JOIN snapshots s ON s.parent = fallen.key
       ) SELECT key FROM fallen`,
      id,
    )
    .map((row) => String(row.key));
  for (const key of fallen) {
    const layer = dropSnapshot(db, key);
    if (layer !== undefined) trash.take(layerFolder(layout, layer));
  }
  db.run('DELETE FROM layers WHERE id = ?', id);
  return fallen;
}

function mendIngests({ db, layout, trash }: LocalParts): string[] {
  const files = new Set(db.all('SELECT file FROM ingests').map((row) => String(row.file)));
  for (const name of list(layout.ingest)) if (!files.has(name)) trash.take(join(layout.ingest, name));
  return [];
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (err) {
    if (errnoCode(err) === 'ENOENT' || errnoCode(err) === 'ENOTDIR') return [];
    throw err;
  }
}
