/**
 * Files of trees that others may still have open, and change: a process of a step that has ended may have handed its
 * folders to one of another step. They are reached through real folders alone, never through a symlink that was put on
 * the way since the tree was looked at.
 */
import { constants } from 'node:fs';
import { errnoCode } from '../errors/index.ts';
import { closeFd, listNames, openReal, openRealFile, readdirSync } from '../linux/index.ts';
import type { FsEntry } from './view.ts';

const { O_DIRECTORY, O_RDONLY } = constants;

/** Opens the file of an entry for reading; ELOOP when it is no regular file any more. It is closed with `closeFd`. */
export function openEntry(entry: FsEntry): number {
  // A folder of a running container, of a live view.
  const isLive = entry.hostPath.startsWith('/proc/self/fd/');
  return openRealFile(entry.hostPath, rootOf(entry.hostPath, entry.path), isLive);
}

/** Calls with a path of the entry that leads to it whatever others do to the folders it is in, and follows no link. */
export function atEntry<T>({ hostPath, path }: FsEntry, body: (host: string) => T): T {
  const slash = hostPath.lastIndexOf('/');
  const parent = path.slice(0, path.lastIndexOf('/'));
  return inFolder(hostPath.slice(0, slash), parent, (dir) => body(`${dir}${hostPath.slice(slash)}`));
}

/** Calls with a path of a folder for which the same holds. `path`: what of `host` is inside its tree. */
export function inFolder<T>(host: string, path: string, body: (dir: string) => T): T {
  const fd = openReal(host, rootOf(host, path), O_RDONLY | O_DIRECTORY);
  try {
    return body(`/proc/self/fd/${fd}`);
  } finally {
    closeFd(fd);
  }
}

/** The names in one host folder; none when it is gone. `path`: what of it is inside its tree. */
export function readHost(host: string, path: string): string[] {
  try {
    return namesOfHost(host, path);
  } catch (err) {
    if (errnoCode(err) === 'ENOENT') return [];
    throw err;
  }
}

/** The names in a host folder that is there. */
export function namesOfHost(host: string, path: string): string[] {
  return inFolder(host, path, readdirSync);
}

/** The same as work that may be cut. */
export function* listHost(host: string, path: string): Generator<void, string[]> {
  try {
    // The folder is opened before anything else has its turn, and read by what was opened.
    const names = inFolder(host, path, (dir) => {
      const work = listNames(dir);
      const begun = work.next();
      return { work, begun };
    });
    if (names.begun.done) return names.begun.value;
    yield;
    return yield* names.work;
  } catch (err) {
    if (errnoCode(err) === 'ENOENT') return [];
    throw err;
  }
}

/** How much of a host path is not inside its tree. */
function rootOf(host: string, path: string): number {
  if (path === '/') return host.length;
  return host.endsWith(path) ? host.length - path.length : host.lastIndexOf('/');
}
