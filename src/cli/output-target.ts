/** Finds the file that is really written when a user names one: through symlinks, and into devices and pipes. */
import type { Stats } from 'node:fs';
import { lstat, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { errnoCode, fail } from '../errors/index.ts';
import { nameOf, rawName } from '../linux/index.ts';

export interface TargetFile {
  /** The file behind all symlinks of the user's path. */
  path: string;
  /**
   * `replace`: a file, or nothing yet, which a whole new file replaces. `into`: a character device, a FIFO, or a
   * descriptor that is open already (/dev/stdout), which is written into.
   */
  how: 'replace' | 'into';
  /** The permission bits of the file that is there; the new one keeps them. */
  mode?: number;
}

/** The most symlinks on a path, as for the kernel. */
const maxLinks = 40;

/** The folders whose entries stand for open descriptors. */
const descriptors = /^\/proc\/(self|\d+)(\/task\/\d+)?\/fd$/;

/**
 * Follows `path` to its end. A symlink that leads to nothing is followed to the name that it has. Throws `invalid`
 * where no file can be written: a folder, a block device, a socket, a circle of links.
 */
export async function outputTarget(path: string): Promise<TargetFile> {
  let at = resolve(path);
  for (let links = 0; links < maxLinks; links++) {
    const real = await realpath(rawName(dirname(at)), 'buffer').catch(ifMissing);
    if (real === undefined) return { path: at, how: 'replace' };
    const dir = nameOf(real);
    at = join(dir, basename(at));
    if (descriptors.test(dir)) return { path: at, how: 'into' };
    const found = await lstat(rawName(at)).catch(ifMissing);
    if (found?.isSymbolicLink() !== true) return targetOf(path, at, found);
    const link = nameOf(await readlink(rawName(at), 'buffer'));
    // Links of /proc, such as a pipe's, are not names.
    if (dir.startsWith('/proc/')) return targetOf(path, at, await stat(rawName(at)));
    at = resolve(dir, link);
  }
  throw fail('invalid', 'client', `${path} cannot be written: it leads through too many symlinks`);
}

function targetOf(named: string, path: string, found: Stats | undefined): TargetFile {
  if (found === undefined) return { path, how: 'replace' };
  if (found.isFile()) return { path, how: 'replace', mode: found.mode & 0o777 };
  if (found.isCharacterDevice() || found.isFIFO()) return { path, how: 'into' };
  const kind = found.isDirectory() ? 'a folder' : found.isBlockDevice() ? 'a block device' : 'a socket';
  throw fail('invalid', 'client', `${named} cannot be written: it is ${kind}`, {
    hint: 'Name a file, a FIFO or a character device.',
  });
}

function ifMissing(err: unknown): undefined {
  if (errnoCode(err) !== 'ENOENT') throw err;
  return undefined;
}
