/**
 * Space that is set aside under a root. On a full disk even forgetting needs some: for SQLite's log and its index, for a
 * run folder, for the trash. Whoever gives space back takes the reserve for that; what builds gets none of it.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { isFull } from './disk-full.ts';

/** Bytes: enough to open a root and for the pages that a large collection changes. */
const size = 4 << 20;

const fileOf = (root: string) => join(root, 'reserve');
/** Where older versions had it. */
const formerFileOf = (root: string) => join(root, 'store.db.reserve');

/** Sets the space aside, or as much of it as there is. To be called again once some of it was given up. */
export function fillReserve(root: string): void {
  const file = fileOf(root);
  let fd: number | undefined;
  try {
    const have = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    if (have >= size) return;
    const { bavail, bsize } = statfsSync(root);
    const want = Math.min(size, have + bavail * bsize);
    if (want <= have) return;
    remove(formerFileOf(root));
    fd = openSync(file, 'a', 0o600);
    // Random, for filesystems that compress.
    writeSync(fd, randomBytes(want - have));
  } catch {
    // What there is of it will do.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Gives the space up; false when there was none, or it cannot be. */
export function releaseReserve(root: string): boolean {
  return [fileOf(root), formerFileOf(root)].map(remove).includes(true);
}

function remove(file: string): boolean {
  try {
    rmSync(file);
    return true;
  } catch {
    return false;
  }
}

/** Does what gives space back, or what that needs; on a full disk a second time, with the reserve. */
export async function withReserve<T>(root: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (err) {
    if (!isFull(err) || !releaseReserve(root)) throw err;
    return await work();
  }
}
