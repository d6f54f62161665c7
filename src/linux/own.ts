/**
 * Makes files and folders that belong to this process's user alone, whatever the umask is and whoever made them before.
 */
import { chmodSync, closeSync, mkdirSync, openSync, statSync } from 'node:fs';

const others = 0o077;

/** Makes a folder that no other user may read or pass through. An existing one is closed to others. */
export function ownFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  closeToOthers(path);
}

/** Makes an empty file that no other user may read. An existing one is closed to others and otherwise unchanged. */
function ownFile(path: string): void {
  if (!closeToOthers(path)) closeSync(openSync(path, 'a', 0o600));
}

/**
 * Does the same for a SQLite database and SQLite's files beside it, which get the database's mode when they are made.
 */
export function ownDatabase(file: string): void {
  ownFile(file);
  for (const beside of ['-wal', '-shm']) closeToOthers(file + beside);
}

/**
 * Removes all rights of other users from a path; false when it does not exist. Paths of other users stay as they are.
 */
export function closeToOthers(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if ((stat.mode & others) !== 0 && stat.uid === process.geteuid?.())
    chmodSync(path, stat.mode & 0o7777 & ~others);
  return true;
}
