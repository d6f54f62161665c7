import { join } from 'node:path';
import type { Digest } from '../../oci/index.ts';
import type { GcReport } from '../store.ts';
import { blobPath, layerFolder } from './layout.ts';
import { mend } from './mend.ts';
import { sweepDeadRuns } from './run.ts';
import { dropBlob, dropSnapshot, type LocalParts, layerUsage } from './shared.ts';

/** How long an ingest that was left for a resume is kept: a day. */
const keptIngestMs = 24 * 3600_000;

/**
 * All reachable things: the targets of images, the things that leases hold, the things that labels of reachable things
 * name, and the parents of reachable snapshots.
 */
const live = `
  WITH RECURSIVE live (type, id) AS (
    SELECT 'blob', target FROM images
    UNION SELECT to_type, to_id FROM refs WHERE from_type = 'image'
    UNION SELECT type, id FROM held
    UNION SELECT r.to_type, r.to_id FROM live JOIN refs r ON r.from_type = live.type AND r.from_id = live.id
    UNION SELECT 'snapshot', s.parent FROM live JOIN snapshots s ON live.type = 'snapshot' AND s.key = live.id
      WHERE s.parent IS NOT NULL
  )`;

interface Garbage {
  blobs: Digest[];
  snapshots: string[];
  /** Bytes of blobs and of layers whose usage is known. */
  size: number;
  /** Layers that must be measured to know how much space they free. */
  unmeasured: number[];
  layers: number[];
}

/**
 * Forgets all unreachable things, in one transaction with the changes that make things reachable. Their files follow.
 */
function forgetGarbage({ db }: LocalParts): Garbage {
  return db.free(() => {
    const found: Garbage = { blobs: [], snapshots: [], size: 0, unmeasured: [], layers: [] };
    const dead = db.all(`
      ${live}
      SELECT 'blob' AS type, digest AS id, size, 0 AS layer FROM blobs
        WHERE digest NOT IN (SELECT id FROM live WHERE type = 'blob')
      UNION ALL
      SELECT 'snapshot', s.key, l.size, s.layer FROM snapshots s JOIN layers l ON l.id = s.layer
        WHERE s.key NOT IN (SELECT id FROM live WHERE type = 'snapshot')`);
    for (const row of dead) {
      const id = String(row.id);
      if (row.type === 'blob') {
        dropBlob(db, id);
        found.blobs.push(id as Digest);
        found.size += Number(row.size);
        continue;
      }
      found.snapshots.push(id);
      const layer = dropSnapshot(db, id);
      if (layer === undefined) continue;
      found.layers.push(layer);
      if (row.size === null) found.unmeasured.push(layer);
      else found.size += Number(row.size);
    }
    return found;
  });
}

/**
 * Implements `Store.gc`. Files are removed in the background. `afterKill`: a process was killed, so look closer for its
 * remains and report no sizes.
 */
export async function collect(shared: LocalParts, options: { afterKill: boolean }): Promise<GcReport> {
  const { db, layout, trash } = shared;
  sweepDeadRuns(shared);
  const garbage = forgetGarbage(shared);
  let reclaimed = garbage.size;
  for (const id of options.afterKill ? [] : garbage.unmeasured) {
    reclaimed += (await layerUsage(layout, id)).size;
  }
  db.free(() => {
    for (const digest of garbage.blobs) {
      // Another process may have stored the same blob anew since.
      const row = db.get('SELECT 1 FROM blobs WHERE digest = ?', digest);
      if (row === undefined) trash.take(blobPath(layout, digest));
    }
    for (const id of garbage.layers) trash.take(layerFolder(layout, id));
    for (const row of db.all(
      'SELECT ref, file FROM ingests WHERE run IS NULL AND updated_at < ?',
      Date.now() - keptIngestMs,
    )) {
      db.run('DELETE FROM ingests WHERE ref = ?', String(row.ref));
      trash.take(join(layout.ingest, String(row.file)));
    }
  });
  mend(shared, options.afterKill);
  trash.empty();
  return { blobs: garbage.blobs, snapshots: garbage.snapshots, reclaimed };
}
