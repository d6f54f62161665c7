import { posix } from 'node:path';

/** A clean absolute path: `path` as it is, or below `dir`. */
export function absolutePath(dir: string, path: string): string {
  const clean = posix.resolve('/', dir, path);
  return clean;
}

/** Like `absolutePath`, keeping a trailing `/` or `/.`, which mean "a folder" and "what is in the folder". */
export function destinationPath(dir: string, path: string): string {
  const clean = absolutePath(dir, path);
  if (path.endsWith('/.')) return clean === '/' ? '/.' : `${clean}/.`;
  if (path.endsWith('/') && clean !== '/') return `${clean}/`;
  return clean;
}
