/** The log of a daemon in the background: a file that its output is appended to, and one with what was there before. */
import { copyFileSync, fstatSync, ftruncateSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { daemonFolder } from '../../daemon/index.ts';

/** How long the file gets, in bytes, before it begins anew. */
const longest = 16 << 20;
/** stderr */
const fd = 2;

/** The path of the log under a root. */
export function logPath(root: string): string {
  return join(daemonFolder(root), 'log');
}

/** Where the older output is. */
function olderPath(file: string): string {
  return `${file}.1`;
}

/** Sets a long log aside before a daemon begins to write it. */
export function setLongLogAside(file: string): void {
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) >= longest) renameSync(file, olderPath(file));
}

/**
 * Makes a function that writes lines to this process's stderr, which is the log's file, and has the file begin anew when
 * it is long. What is printed otherwise, by a crash too, goes to the same file, so it is emptied in its place.
 */
export function logWriter(file: string, stderr: NodeJS.WriteStream, most = longest): (line: string) => void {
  let written = fstatSync(fd).size;
  return (line) => {
    stderr.write(line);
    written += Buffer.byteLength(line);
    if (written < most) return;
    try {
      copyFileSync(file, olderPath(file));
      ftruncateSync(fd);
    } catch {
      // On a full disk the log goes on as it is; it is tried again when it has grown as much once more.
    }
    written = 0;
  };
}
