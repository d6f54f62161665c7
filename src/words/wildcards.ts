/** Wildcards in paths. Their parts are patterns of Go's filepath.Match (see patterns/glob.ts). */

/** Whether a path holds an unescaped `*`, `?` or `[`. */
export function hasWildcard(path: string): boolean {
  for (let i = 0; i < path.length; i++) {
    const ch = path[i];
    if (ch === '\\') i++;
    else if (ch === '*' || ch === '?' || ch === '[') return true;
  }
  return false;
}

/** Splits a path before its first part with a wildcard into the literal folder and the pattern. */
export function splitWildcards(path: string): { base: string; pattern: string } {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const at = parts.findIndex(hasWildcard);
  if (at < 0) return { base: `/${parts.join('/')}`, pattern: '' };
  return { base: `/${parts.slice(0, at).join('/')}`, pattern: parts.slice(at).join('/') };
}
