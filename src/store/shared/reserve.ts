/**
 * The reserve: disk space that is set aside under a root. On a full disk even deleting needs some space, for SQLite's
 * log and its index, for a run folder, for the trash. Only operations that free space may take the reserve; builds get
 * none of it.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { isFull } from './disk-full.ts';

/** Bytes: enough to open a root, and for the pages that a large collection changes. */
const size = 4 << 20;

const fileOf = (root: string) => join(root, 'reserve');
/** The place of the reserve in older versions. */
const formerFileOf = (root: string) => join(root, 'store.db.reserve');

/** Sets the space aside, or as much of it as the disk has. To be called again after the reserve was given up. */
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
    // The bytes are random, for filesystems that compress.
    writeSync(fd, randomBytes(want - have));
  } catch {
    // A smaller reserve is better than none.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Gives up the reserve. False when there was none or it could not be removed. */
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

/**
 * Runs an operation that frees space (or prepares to). On a full disk, gives up the reserve and runs it a second time.
 */
export async function withReserve<T>(root: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (err) {
    if (!isFull(err) || !releaseReserve(root)) throw err;
    return await work();
  }
}
