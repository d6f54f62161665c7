/**
 * Reads files of trees that other processes may still have open and change: a process of an ended step may have handed
 * its folders to a process of another step. Files are reached through real folders only, never through a symlink that
 * was put on the way since the tree was looked at.
 */
import { constants } from 'node:fs';
import { errnoCode } from '../errors/index.ts';
import { closeFd, listNames, openReal, openRealFile, readdirSync } from '../linux/index.ts';
import type { FsEntry } from './view.ts';

const { O_DIRECTORY, O_RDONLY } = constants;

/**
 * Opens the file of an entry for reading; close it with `closeFd`. Throws ELOOP when it is no regular file any more.
 */
export function openEntry(entry: FsEntry): number {
  // This is a folder of a running container, in a live view.
  const isLive = entry.hostPath.startsWith('/proc/self/fd/');
  return openRealFile(entry.hostPath, rootOf(entry.hostPath, entry.path), isLive);
}

/**
 * Calls `body` with a path that leads to the entry, follows no link, and stays true whatever others do to the folders
 * on the way.
 */
export function atEntry<T>({ hostPath, path }: FsEntry, body: (host: string) => T): T {
  const slash = hostPath.lastIndexOf('/');
  const parent = path.slice(0, path.lastIndexOf('/'));
  return inFolder(hostPath.slice(0, slash), parent, (dir) => body(`${dir}${hostPath.slice(slash)}`));
}

/** Calls `body` with such a path of a folder. `path` is the part of `host` that is inside its tree. */
export function inFolder<T>(host: string, path: string, body: (dir: string) => T): T {
  const fd = openReal(host, rootOf(host, path), O_RDONLY | O_DIRECTORY);
  try {
    return body(`/proc/self/fd/${fd}`);
  } finally {
    closeFd(fd);
  }
}

/** The names in a host folder; none when it is gone. `path` is the part of `host` inside its tree. */
export function readHost(host: string, path: string): string[] {
  try {
    return namesOfHost(host, path);
  } catch (err) {
    if (errnoCode(err) === 'ENOENT') return [];
    throw err;
  }
}

/** The names in a host folder, which must exist. */
export function namesOfHost(host: string, path: string): string[] {
  return inFolder(host, path, readdirSync);
}

/** Yields while it works and returns the same as `namesOfHost`. */
export function* listHost(host: string, path: string): Generator<void, string[]> {
  try {
    // The folder is opened before anything else has its turn, and read through that descriptor.
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

/** The length of the part of a host path that is outside its tree. */
export function rootOf(host: string, path: string): number {
  if (path === '/') return host.length;
  return host.endsWith(path) ? host.length - path.length : host.lastIndexOf('/');
}
