/** Copies files of an uploaded context aside that its `.dockerignore` leaves out, though the builder needs them. */
import type { Stats } from 'node:fs';
import { copyFile, link, lstat, mkdir, readFile, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cleanPath, IgnoreMatcher, readIgnore } from '../fs/index.ts';
import { nameOf } from '../linux/index.ts';

/** The largest `.dockerignore`, in bytes; a larger file counts as none. */
const maxIgnore = 1 << 20;

/**
 * Copies those of the files at `paths` that the `.dockerignore` in `dir` leaves out to `to`, under the same paths. Returns
 * a pattern for each of them, by which the rest of the tree is without it. Nothing outside of `dir` is read or copied,
 * whatever links are in it. Throws `invalid` for a malformed pattern.
 */
export async function copyAside(dir: string, paths: readonly string[], to: string): Promise<string[]> {
  const ignore = await statInside(dir, '.dockerignore');
  if (!ignore?.isFile() || ignore.size > maxIgnore) return [];
  const matcher = new IgnoreMatcher(readIgnore(nameOf(await readFile(join(dir, '.dockerignore')))));
  const copied: string[] = [];
  for (const path of new Set(paths.map((each) => cleanPath(each).slice(1)))) {
    if (path === '' || !matcher.matches(path)) continue;
    const found = await statInside(dir, path);
    if (found === undefined || found.isDirectory()) continue;
    copied.push(path.replace(/[\\*?[\]!]/g, '\\$&'));
    const target = join(to, path);
    await mkdir(dirname(target), { recursive: true });
    if (found.isFile()) {
      await copyFile(join(dir, path), target);
      await utimes(target, found.atime, found.mtime);
    } else await link(join(dir, path), target);
  }
  return copied;
}

/** The state of a file; undefined when it is missing, or reached only by way of a link. */
async function statInside(dir: string, path: string): Promise<Stats | undefined> {
  const parts = path.split('/');
  let at = dir;
  for (const [i, part] of parts.entries()) {
    at = join(at, part);
    const found = await lstat(at).catch(() => undefined);
    if (found === undefined || i === parts.length - 1) return found;
    if (!found.isDirectory()) return undefined;
  }
  return undefined;
}
