/**
 * Returns a clean absolute path: `path` itself, or `path` below `dir`. It takes linear time; Node's own functions take
 * quadratic time on long paths with many `..`.
 */
export function absolutePath(dir: string, path: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith('/') ? path : `${dir}/${path}`).split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/**
 * Does the same as `absolutePath` and keeps a trailing `/` or `/.`, which mean "a folder" and "the contents of the
 * folder".
 */
export function destinationPath(dir: string, path: string): string {
  const clean = absolutePath(dir, path);
  if (path.endsWith('/.')) return clean === '/' ? '/.' : `${clean}/.`;
  if (path.endsWith('/') && clean !== '/') return `${clean}/`;
  return clean;
}

/** Returns the same as `posix.normalize`, in linear time: a relative path stays relative, a trailing slash stays. */
export function normalPath(path: string): string {
  const isAbsolute = path.startsWith('/');
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (!isAbsolute) parts.push('..');
  }
  const clean = parts.join('/');
  const end = path.endsWith('/') && (clean !== '' || !isAbsolute) ? '/' : '';
  return `${isAbsolute ? '/' : clean === '' ? '.' : ''}${clean}${end}`;
}
