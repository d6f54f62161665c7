/**
 * Run folders. Each process (or each opening) that uses a store has one, with a lock in it that the kernel drops when
 * the process dies. So a later process can tell which runs are dead.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoCode, fail } from '../../errors/index.ts';
import { MNT_DETACH, tryLock, umount } from '../../linux/index.ts';

/** The run folder of one opening of a store. */
export interface Run {
  id: string;
  dir: string;
  /** Removes the folder and gives up the lock. */
  end(): void;
}

/** A new name for a run: the process id and some random digits. */
export function newRunId(): string {
  return `${process.pid}-${randomBytes(5).toString('hex')}`;
}

/** Makes a run folder and takes its lock. The caller keeps sweepers away meanwhile. */
export function makeRunFolder(dir: string, id: string): Run {
  mkdirSync(dir, { mode: 0o700 });
  return lockRunFolder(dir, id);
}

/**
 * Makes a run folder below `parent`. The folder is made under a hidden name, so no sweeper sees it before it is locked.
 */
export function startRunFolder(parent: string): Run {
  const id = newRunId();
  const hidden = join(parent, `.new-${id}`);
  mkdirSync(hidden, { mode: 0o700 });
  const run = lockRunFolder(hidden, id);
  renameSync(hidden, join(parent, id));
  return { ...run, dir: join(parent, id), end: () => endRun(join(parent, id), run.fd) };
}

function lockRunFolder(dir: string, id: string): Run & { fd: number } {
  const fd = openSync(join(dir, 'lock'), 'wx', 0o600);
  if (!tryLock(fd)) throw fail('internal', 'store', `the lock of the new run ${id} is taken`);
  return { id, dir, fd, end: () => endRun(dir, fd) };
}

function endRun(dir: string, fd: number): void {
  if (unmountBelow(dir)) rmSync(dir, { recursive: true, force: true });
  closeSync(fd);
}

/** The run folders below `parent`, divided into living and dead ones. */
interface RunCensus {
  live: string[];
  dead: string[];
  /** Releases the locks of the dead runs, which keep other processes from sweeping them at the same time. */
  release(): void;
}

/** Looks at all runs but `own`. A folder that has not got its final name within a minute counts as dead. */
export function takeCensus(parent: string, own: string): RunCensus {
  const census: RunCensus & { locks: number[] } = {
    live: [own],
    dead: [],
    locks: [],
    release() {
      for (const fd of this.locks) closeSync(fd);
      this.locks = [];
    },
  };
  for (const id of readdirSync(parent)) {
    if (id === own) continue;
    if (id.startsWith('.new-')) {
      const since = statSync(join(parent, id), { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
      if (Date.now() - since < 60_000) continue;
    }
    const lock = takeLock(join(parent, id, 'lock'));
    if (lock === 'held') {
      census.live.push(id);
      continue;
    }
    if (lock !== undefined) census.locks.push(lock);
    census.dead.push(id);
  }
  return census;
}

/**
 * Takes a run's lock and returns its file descriptor; `held` when the run's process lives, undefined when there is no
 * lock file.
 */
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

/** Whether the process that took the lock is alive. */
export function isHeld(path: string): boolean {
  const lock = takeLock(path);
  if (typeof lock === 'number') closeSync(lock);
  return lock === 'held';
}

/** Unmounts everything on or below a folder, so that deleting it deletes nothing else. False when a mount stays. */
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
