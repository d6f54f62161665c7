/**
 * A clean absolute path: `path` as it is, or below `dir`. In linear time, unlike Node's own functions, which take the
 * square of how often a long path goes up.
 */
export function absolutePath(dir: string, path: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith('/') ? path : `${dir}/${path}`).split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/** Like `absolutePath`, keeping a trailing `/` or `/.`, which mean "a folder" and "what is in the folder". */
export function destinationPath(dir: string, path: string): string {
  const clean = absolutePath(dir, path);
  if (path.endsWith('/.')) return clean === '/' ? '/.' : `${clean}/.`;
  if (path.endsWith('/') && clean !== '/') return `${clean}/`;
  return clean;
}

/** What `posix.normalize` gives, in linear time: a relative path stays relative, a slash at the end stays. */
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
