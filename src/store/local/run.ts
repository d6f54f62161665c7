import { join } from 'node:path';
import { makeRunFolder, newRunId, type Run, takeCensus, unmountBelow } from '../shared/run-folder.ts';
import type { Db } from './db.ts';
import type { RootLayout } from './layout.ts';
import { dropSnapshot, type LocalParts } from './shared.ts';

export { type Run, unmountBelow };

/**
 * Makes this process's run folder and takes its lock. It runs inside a write transaction, as sweeping does, so no
 * sweeper ever sees a run between its making and its locking.
 */
export function startRun(db: Db, layout: RootLayout): Run {
  const id = newRunId();
  return db.write(() => makeRunFolder(join(layout.run, id), id));
}

/**
 * Removes the remains of dead processes: their leases, active snapshots, ingests and run folders. Returns whether there
 * were any. It also drops the remains of a sweep that was killed: rows of a run that has no folder any more.
 */
export function sweepDeadRuns(shared: LocalParts): boolean {
  const { db, layout, run, trash } = shared;
  const layers: number[] = [];
  let release = () => {};
  try {
    return db.free(() => {
      const census = takeCensus(layout.run, run.id);
      release = () => census.release();
      for (const id of census.dead) {
        // A folder with a mount that cannot be unmounted is left alone: deleting it would reach through the mount.
        if (unmountBelow(join(layout.run, id))) trash.take(join(layout.run, id));
      }
      const dropped = dropRuns(shared, census.live, layers);
      return census.dead.length > 0 || dropped;
    });
  } finally {
    release();
    for (const id of layers) trash.take(join(layout.snapshots, String(id)));
    trash.empty();
  }
}

/** Drops the rows of this run; an orderly close does this last. */
export function dropOwnRows(shared: LocalParts): void {
  const layers: number[] = [];
  shared.db.free(() => {
    const others = shared.db
      .all(
        `SELECT run FROM leases WHERE run <> ?1 UNION SELECT run FROM snapshots WHERE run <> ?1
         UNION SELECT run FROM ingests WHERE run <> ?1`,
        shared.run.id,
      )
      .map((row) => String(row.run));
    dropRuns(shared, others, layers);
  });
  for (const id of layers) shared.trash.take(join(shared.layout.snapshots, String(id)));
  shared.trash.empty();
}

function dropRuns(shared: LocalParts, live: readonly string[], layers: number[]): boolean {
  const { db, layout, trash } = shared;
  const list = JSON.stringify(live);
  const dead = 'run IS NOT NULL AND run NOT IN (SELECT value FROM json_each(?))';
  db.run(`DELETE FROM held WHERE lease IN (SELECT id FROM leases WHERE ${dead})`, list);
  let found = db.run(`DELETE FROM leases WHERE ${dead}`, list).changes > 0;
  for (const row of db.all(`SELECT key FROM snapshots WHERE ${dead}`, list)) {
    found = true;
    const layer = dropSnapshot(db, String(row.key));
    if (layer !== undefined) layers.push(layer);
  }
  for (const row of db.all(`SELECT ref, file FROM ingests WHERE ${dead}`, list)) {
    found = true;
    db.run('DELETE FROM ingests WHERE ref = ?', String(row.ref));
    trash.take(join(layout.ingest, String(row.file)));
  }
  return found;
}
