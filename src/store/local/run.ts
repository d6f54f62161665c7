import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode, fail } from '../../errors/error.ts';
import { MNT_DETACH, tryLock, umount } from '../../linux/libc.ts';
import type { Db } from './db.ts';
import type { Layout } from './layout.ts';
import { dropSnapshot, type Shared } from './shared.ts';

/** One process's (or one opening's) use of a store: a folder with a lock that the kernel drops when it dies. */
export interface Run {
  id: string;
  dir: string;
  /** Removes the folder and gives up the lock. */
  end(): void;
}

/**
 * Makes this process's run folder and takes its lock. Inside a write transaction, as sweeping is: so no sweeper ever
 * sees a run between its making and its locking.
 */
export function startRun(db: Db, layout: Layout): Run {
  const id = `${process.pid}-${randomBytes(5).toString('hex')}`;
  const dir = join(layout.run, id);
  return db.write(() => {
    mkdirSync(dir, { mode: 0o711 });
    const fd = openSync(join(dir, 'lock'), 'wx', 0o600);
    if (!tryLock(fd)) throw fail('internal', 'store', `the lock of the new run ${id} is taken`);
    return {
      id,
      dir,
      end: () => {
        if (unmountBelow(dir)) rmSync(dir, { recursive: true, force: true });
        closeSync(fd);
      },
    };
  });
}

/**
 * Clears away what dead processes left: their leases, active snapshots, ingests and run folders. Returns whether
 * there was anything. Also drops what a kill in mid-sweep left: rows of a run that has no folder any more.
 */
export function sweepDeadRuns(shared: Shared): boolean {
  const { db, layout, run, trash } = shared;
  const locks: number[] = [];
  const layers: number[] = [];
  try {
    return db.free(() => {
      const live = [run.id];
      let found = false;
      for (const id of readdirSync(layout.run)) {
        if (id === run.id) continue;
        const lock = takeLock(join(layout.run, id, 'lock'));
        if (lock === 'held') {
          live.push(id);
          continue;
        }
        if (lock !== undefined) locks.push(lock);
        found = true;
        // A folder with a mount that cannot be taken off is left alone: deleting it would reach through the mount.
        if (unmountBelow(join(layout.run, id))) trash.take(join(layout.run, id));
      }
      const dropped = dropRuns(shared, live, layers);
      return found || dropped;
    });
  } finally {
    for (const fd of locks) closeSync(fd);
    for (const id of layers) trash.take(join(layout.snapshots, String(id)));
    trash.empty();
  }
}

/** Drops the rows of this run: the last thing an orderly close does. */
export function dropOwnRows(shared: Shared): void {
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

function dropRuns(shared: Shared, live: readonly string[], layers: number[]): boolean {
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

/** The lock's file descriptor; `held` when its process lives; undefined when there is no lock file. */
function takeLock(path: string): number | 'held' | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (err) {
    if (errnoCode(err) === 'ENOENT' || errnoCode(err) === 'ENOTDIR') return undefined;
    throw err;
  }
  if (tryLock(fd)) return fd;
  closeSync(fd);
  return 'held';
}

/** Takes off all mounts on or below a folder, so that deleting it deletes nothing else. False when one stays. */
export function unmountBelow(dir: string): boolean {
  let all = true;
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replaceAll(/\\([0-7]{3})/g, (_, oct: string) => fromOctal(oct)))
    .filter((point) => point === dir || point.startsWith(`${dir}/`));
  for (const point of points.reverse()) {
    try {
      umount(point, MNT_DETACH);
    } catch (err) {
      if (errnoCode(err) !== 'EINVAL' && errnoCode(err) !== 'ENOENT') all = false;
    }
  }
  return all;
}

function fromOctal(digits: string): string {
  return String.fromCharCode(Number.parseInt(digits, 8));
}
