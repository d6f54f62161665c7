/** The state of BuildKit's own buildkitd in a folder that is to be our root: an image's volume outlives the image. */
import { closeSync, mkdirSync, openSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../api/index.ts';
import { errnoCode, fail } from '../errors/index.ts';
import { tryLock } from '../linux/index.ts';
import { isBoltDatabase } from '../store/index.ts';

/** Its databases whose names are ours, too. They are moved last: as long as one is there, the move is not over. */
const databases = ['history.db', 'cache.db'];
/** Its lock, which it removes when it ends well. */
const lockName = 'buildkitd.lock';
/** What else is its: a folder for each worker and snapshotter, and the networks of steps. */
const others = /^(?:(?:runc|containerd)-[\w.-]+|net|cnilock|otel-grpc\.sock|buildkitd\.lock)$/;
const asideName = 'buildkitd-state';

/**
 * Moves what a buildkitd has left in a folder into `buildkitd-state` in it, and says so. Nothing is read of it and
 * nothing is lost: moved back, buildkitd goes on with it. A move that was cut off is finished by the next one. Throws
 * `conflict` when a buildkitd is at work there, and `denied` for what cannot be moved.
 */
export function setBuildkitdAside(root: string, log: Log): void {
  const names = readdirSync(root);
  const own = databases.filter((name) => names.includes(name) && isBoltDatabase(join(root, name)));
  if (own.length === 0) return;
  if (names.includes(lockName)) checkIdle(join(root, lockName), root);
  const moved = [...names.filter((name) => others.test(name)), ...own];
  const aside = roomFor(root, moved);
  for (const name of moved) {
    try {
      renameSync(join(root, name), join(aside, name));
    } catch (err) {
      if (errnoCode(err) === 'ENOENT') continue;
      throw fail('denied', 'host', `${join(root, name)} of BuildKit's buildkitd cannot be moved aside`, {
        hint: `Move it out of ${root}, or choose another folder with --root.`,
        cause: err,
      });
    }
  }
  log('warn', "the state of BuildKit's buildkitd is set aside: remove it when it is not needed any more", {
    folder: aside,
  });
}

/** A folder in the root that has none of these names: that of a move that was cut off, or a new one. */
function roomFor(root: string, moved: readonly string[]): string {
  for (let n = 1; ; n++) {
    const folder = join(root, n === 1 ? asideName : `${asideName}-${n}`);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const there = new Set(readdirSync(folder));
    if (!moved.some((name) => there.has(name))) return folder;
  }
}

function checkIdle(lock: string, root: string): void {
  const fd = openSync(lock, 'r');
  try {
    if (tryLock(fd)) return;
  } finally {
    closeSync(fd);
  }
  throw fail('conflict', 'host', `BuildKit's buildkitd is at work in ${root}`, {
    hint: 'Stop it first, or choose another folder with --root.',
  });
}
