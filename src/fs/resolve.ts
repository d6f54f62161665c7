/** Paths and small files inside a view, with symlinks followed inside it and never out of it. */
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { fail } from '../errors/error.ts';
import { cleanPath, joinPath, splitPath } from './paths.ts';
import type { FsEntry, FsView } from './view.ts';

/** Most symlinks followed for one path, as Linux has it. */
export const maxLinks = 40;

/**
 * Where a path leads inside the view: symlinks in it are followed (the last part's only with `followLast`), absolute
 * targets start at the view's root, `..` stops there. What does not exist is kept as written. Throws `invalid` on
 * too many links.
 */
export function resolvePath(view: FsView, path: string, options: { followLast: boolean }): string {
  return walkLinks((p) => view.lstat(p)?.link, path, options.followLast);
}

/** The walk of `resolvePath` over anything that can tell a symlink's target (undefined: no symlink there). */
export function walkLinks(
  linkAt: (path: string) => string | undefined,
  path: string,
  followLast: boolean,
): string {
  const pending = splitPath(path).reverse();
  let current = '/';
  let links = 0;
  while (pending.length > 0) {
    const part = pending.pop()!;
    if (part === '..') {
      current = cleanPath(`${current}/..`);
      continue;
    }
    const next = joinPath(current, part);
    const target = pending.length > 0 || followLast ? linkAt(next) : undefined;
    if (target === undefined) {
      current = next;
      continue;
    }
    if (++links > maxLinks) {
      throw fail('invalid', 'file', `${path}: too many levels of symbolic links`);
    }
    if (target.startsWith('/')) current = '/';
    pending.push(...splitPath(target).reverse());
  }
  return current;
}

/** What a path leads to, all symlinks followed; undefined when there is nothing. */
export function statFollow(view: FsView, path: string): FsEntry | undefined {
  return view.lstat(resolvePath(view, path, { followLast: true }));
}

/** The entries of a folder, links to it followed. Throws `not-found` / `invalid`. */
export function readdirFollow(view: FsView, path: string): FsEntry[] {
  return view.readdir(resolvePath(view, path, { followLast: true }));
}

/**
 * The bytes of a small file, links followed; undefined when there is none. Throws `invalid` on anything but a
 * regular file and beyond `maxBytes` (default 16 MiB).
 */
export function readFile(view: FsView, path: string, maxBytes = 16 << 20): Buffer | undefined {
  const entry = statFollow(view, path);
  if (entry === undefined) return undefined;
  if (entry.type !== 'file') {
    throw fail(
      'invalid',
      'file',
      `${path}: is a ${entry.type === 'dir' ? 'folder' : entry.type}, not a file`,
    );
  }
  return readEntry(entry, path, maxBytes);
}

function readEntry(entry: FsEntry, path: string, maxBytes: number): Buffer {
  const tooLarge = () => fail('invalid', 'file', `${path}: larger than ${maxBytes} bytes`);
  if (entry.size > maxBytes) throw tooLarge();
  const fd = openSync(entry.hostPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    // One byte more shows a file that grew meanwhile.
    let buffer = Buffer.allocUnsafe(entry.size + 1);
    let length = 0;
    for (;;) {
      const n = readSync(fd, buffer, length, buffer.length - length, length);
      if (n === 0) return buffer.subarray(0, length);
      length += n;
      if (length > maxBytes) throw tooLarge();
      if (length === buffer.length)
        buffer = Buffer.concat([buffer, Buffer.allocUnsafe(buffer.length + 4096)]);
    }
  } finally {
    closeSync(fd);
  }
}
