/**
 * The folder of a snapshot that containerd was killed in the middle of making. containerd numbers snapshots in one
 * transaction with moving their folders into place; when it is killed between the move and the end of the transaction,
 * the number is given out again, and the folder that is there is in the way of every new snapshot until containerd
 * happens to collect.
 */
import { lstatSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ConnectError } from '@connectrpc/connect';

/** A call that makes a snapshot (`prepare`, `view`). A folder that is left over is put out of its way. */
export async function pastLeftover<T>(make: () => Promise<T>): Promise<T> {
  let before: Leftover | undefined;
  for (let tries = 1; ; tries++) {
    try {
      return await make();
    } catch (err) {
      const found = leftoverIn(err);
      if (found === undefined || tries === 8) throw err;
      // One that is in the way twice is nobody's: containerd has no snapshot of this number.
      if (before?.path === found.path && before.inode === found.inode) putAside(found);
      before = found;
    }
  }
}

interface Leftover {
  path: string;
  /** Undefined: it is gone by now. */
  inode: bigint | undefined;
}

function leftoverIn(err: unknown): Leftover | undefined {
  const said = err instanceof ConnectError ? err.rawMessage : '';
  const path = /failed to rename: rename \/\S+\/new-\S+ (\/\S+\/snapshots\/\d+): file exists/.exec(said)?.[1];
  return path === undefined ? undefined : { path, inode: inodeOf(path) };
}

function inodeOf(path: string): bigint | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}

/** Gives it a name that containerd removes when it collects, unless it is another folder by now. */
function putAside({ path, inode }: Leftover): void {
  const aside = join(dirname(path), `new-left-over-${inode}`);
  try {
    renameSync(path, aside);
    if (inodeOf(aside) !== inode) renameSync(aside, path);
  } catch {
    // Somebody else has put it aside, or containerd collected it.
  }
}
