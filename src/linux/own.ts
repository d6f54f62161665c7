/** Files and folders that are this process's user's alone, whatever the umask is and whoever made them before. */
import { chmodSync, closeSync, mkdirSync, openSync, statSync } from 'node:fs';

const others = 0o077;

/** Makes a folder that nobody else may look into or pass through. One that is there is closed to others. */
export function ownFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  closeToOthers(path);
}

/** Makes an empty file that nobody else may read. One that is there is closed to others and else left as it is. */
function ownFile(path: string): void {
  if (!closeToOthers(path)) closeSync(openSync(path, 'a', 0o600));
}

/** The same of a SQLite database, with what SQLite keeps beside it, which has the database's own mode when made anew. */
export function ownDatabase(file: string): void {
  ownFile(file);
  for (const beside of ['-wal', '-shm']) closeToOthers(file + beside);
}

/** Takes all rights of others from what is there; false when it is not. What belongs to another user stays as it is. */
export function closeToOthers(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if ((stat.mode & others) !== 0 && stat.uid === process.geteuid?.())
    chmodSync(path, stat.mode & 0o7777 & ~others);
  return true;
}
