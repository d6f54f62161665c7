/** BuildKit's follow-paths: the paths that a build reads, with the targets of all symlinks on the way to them. */
import { compareNames, readlinkSync } from '../linux/index.ts';
import { compileGlob } from '../patterns/index.ts';
import { hasWildcard } from '../words/index.ts';
import { cleanPath, dirName, joinPath } from './paths.ts';
import { readHost } from './real.ts';
import { lstatHost } from './stat.ts';

/**
 * The include patterns that select the paths and the targets of the symlinks on them. Undefined when one of them is the
 * root, which selects everything. A path that does not exist stays in the list and selects nothing.
 */
export function followPatterns(dir: string, paths: readonly string[]): string[] | undefined {
  const resolved = new Set<string>();
  const pending = [...paths].reverse();
  while (pending.length > 0) {
    const parts = cleanPath(pending.pop()!).split('/').slice(1);
    let current = '/';
    for (const [i, part] of parts.entries()) {
      current = joinPath(current, part);
      const rest = parts.slice(i + 1).join('/');
      const targets = part === '' ? [] : linkTargets(dir, current, part);
      if (targets.length === 0 && rest !== '') continue;
      if (resolved.has(current)) break;
      resolved.add(current);
      for (const target of targets.reverse()) pending.push(`${target}/${rest}`);
      break;
    }
  }
  return withoutNested([...resolved].sort(compareNames));
}

/** The targets of the symlinks that a path, perhaps with wildcards, stands for. */
function linkTargets(dir: string, path: string, name: string): string[] {
  const parent = dirName(path);
  if (!reachable(dir, parent)) return [];
  const names = hasWildcard(name) ? matching(`${dir}${parent}`, name) : [name];
  const targets: string[] = [];
  for (const one of names) {
    const host = `${dir}${joinPath(parent, one)}`;
    if (lstatHost(host)?.isSymbolicLink() !== true) continue;
    const link = readlinkSync(host);
    targets.push(link.startsWith('/') ? cleanPath(link) : cleanPath(`${parent}/${link}`));
  }
  return targets;
}

/** Whether every part of a path is a real folder, so that reading it does not leave the root. */
function reachable(dir: string, path: string): boolean {
  let host = dir;
  for (const part of path.split('/').slice(1)) {
    if (part === '') continue;
    host += `/${part}`;
    if (lstatHost(host)?.isDirectory() !== true) return false;
  }
  return true;
}

function matching(hostDir: string, pattern: string): string[] {
  const glob = compileGlob(pattern);
  return readHost(hostDir, '').filter(glob);
}

function withoutNested(sorted: string[]): string[] | undefined {
  const out: string[] = [];
  let last: string | undefined;
  for (const path of sorted) {
    if (path === '/') return undefined;
    if (last !== undefined && path.startsWith(`${last}/`)) continue;
    out.push(path.slice(1));
    last = path;
  }
  return out;
}
