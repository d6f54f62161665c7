/** Paths inside a view: symlinks are followed inside it and never out of it. */
import { clip, fail } from '../errors/index.ts';
import { cleanPath, joinPath, splitPath } from './paths.ts';
import type { FsView } from './view.ts';

/** The largest number of symlinks followed for one path, as in Linux. */
const maxLinks = 40;

/**
 * Returns the path that a path leads to inside the view. Symlinks in it are followed (the last part's only with
 * `followLast`), absolute targets start at the view's root, `..` stops there. Missing parts are kept as written. Throws
 * `invalid` on too many links.
 */
export function resolvePath(view: FsView, path: string, options: { followLast: boolean }): string {
  return walkLinks((p) => view.lstat(p)?.link, path, options.followLast);
}

/** The largest number of parts of one path, including the parts of the links on it, and of the bytes of the result. */
const maxSteps = 8192;
const maxPath = 4096;

/** The walk of `resolvePath` over anything that can tell a symlink's target (undefined: not a symlink). */
export function walkLinks(
  linkAt: (path: string) => string | undefined,
  path: string,
  followLast: boolean,
): string {
  const pending = splitPath(path).reverse();
  let current = '/';
  let links = 0;
  let steps = 0;
  while (pending.length > 0) {
    const part = pending.pop()!;
    if (++steps > maxSteps || current.length > maxPath) {
      throw fail('invalid', 'file', `${clip(path, 200)}: the path leads too far`, {
        hint: 'Symbolic links on it make it longer than any path that Linux takes.',
      });
    }
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
