/**
 * The parts of a local store that its files share, and the statements that several of them need. The statements are
 * synchronous and run in a transaction.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from '../../errors/index.ts';
import { type LazyFiles, lazyFolder } from '../../lazy/index.ts';
import { runTask } from '../../workers/index.ts';
import { refsOfLabels } from '../labels.ts';
import type { Db } from './db.ts';
import { layerFolder, type RootLayout } from './layout.ts';
import type { Run } from './run.ts';
import type { Trash } from './trash.ts';

export interface LocalParts {
  db: Db;
  layout: RootLayout;
  run: Run;
  trash: Trash;
  snapshotter: 'overlayfs' | 'native';
  /** The filesystem of lazy layers. */
  lazyFiles: LazyFiles;
  /** Whether an image's data must be on the disk when the image gets its name. */
  sync: boolean;
}

type ThingType = 'blob' | 'snapshot';

/** Puts a thing under a lease. Throws `not-found` when there is no such lease. */
export function hold(db: Db, lease: string, type: ThingType, id: string): void {
  if (db.get('SELECT 1 FROM leases WHERE id = ?', lease) === undefined) {
    throw fail('not-found', 'store', `there is no lease ${JSON.stringify(lease)}`, {
      hint: 'The work that it belonged to is over; start it again.',
    });
  }
  db.run('INSERT OR IGNORE INTO held (lease, type, id) VALUES (?, ?, ?)', lease, type, id);
}

/** Inserts the row of a lease. A lease with a run ends with that run; one without is pinned. */
export function insertLease(
  db: Db,
  id: string,
  lease: { run: string | null; view: boolean; labels?: Record<string, string> },
): void {
  db.run(
    'INSERT INTO leases (id, run, view, labels, created_at) VALUES (?, ?, ?, ?, ?)',
    id,
    lease.run,
    lease.view ? 1 : 0,
    JSON.stringify(lease.labels ?? {}),
    Date.now(),
  );
}

export function deleteLease(db: Db, id: string): void {
  db.run('DELETE FROM held WHERE lease = ?', id);
  db.run('DELETE FROM leases WHERE id = ?', id);
}

/** Replaces the rows that say which things a thing's labels keep alive. */
export function setRefs(
  shared: Pick<LocalParts, 'db' | 'snapshotter'>,
  type: ThingType | 'image',
  id: string,
  labels: Record<string, string>,
): void {
  const { db } = shared;
  db.run('DELETE FROM refs WHERE from_type = ? AND from_id = ?', type, id);
  for (const ref of refsOfLabels(labels, shared.snapshotter)) {
    db.run(
      'INSERT OR IGNORE INTO refs (from_type, from_id, to_type, to_id) VALUES (?, ?, ?, ?)',
      type,
      id,
      ref.type,
      ref.id,
    );
  }
}

/**
 * Forgets a snapshot. Returns the id of its layer when no other snapshot shares it: the layer's folder must go then.
 */
export function dropSnapshot(db: Db, key: string): number | undefined {
  const row = db.get('SELECT layer FROM snapshots WHERE key = ?', key);
  if (row === undefined) return undefined;
  const layer = Number(row.layer);
  db.run('DELETE FROM snapshots WHERE key = ?', key);
  db.run(`DELETE FROM held WHERE type = 'snapshot' AND id = ?`, key);
  db.run(`DELETE FROM refs WHERE from_type = 'snapshot' AND from_id = ?`, key);
  if (db.get('SELECT 1 FROM snapshots WHERE layer = ?', layer) !== undefined) return undefined;
  db.run('DELETE FROM layers WHERE id = ?', layer);
  return layer;
}

export function dropBlob(db: Db, digest: string): void {
  db.run('DELETE FROM blobs WHERE digest = ?', digest);
  db.run(`DELETE FROM held WHERE type = 'blob' AND id = ?`, digest);
  db.run(`DELETE FROM refs WHERE from_type = 'blob' AND from_id = ?`, digest);
}

/** The bytes on disk and the inodes of a layer: of a lazy one, the contents that were fetched too. */
export async function layerUsage(layout: RootLayout, id: number): Promise<{ size: number; inodes: number }> {
  const folder = layerFolder(layout, id);
  const fs = await runTask('store.usage', { dir: join(folder, 'fs') });
  const lazy = join(folder, lazyFolder);
  if (!existsSync(lazy)) return fs;
  const fetched = await runTask('store.usage', { dir: lazy });
  return { size: fs.size + fetched.size, inodes: fs.inodes + fetched.inodes };
}

/** Removes the folders of dropped layers, after the transaction that dropped them (ids are never used again). */
export function trashLayers(shared: Pick<LocalParts, 'layout' | 'trash'>, ids: readonly number[]): void {
  for (const id of ids) shared.trash.take(layerFolder(shared.layout, id));
  shared.trash.empty();
}
