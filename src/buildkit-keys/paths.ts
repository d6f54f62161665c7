/** The paths without those that lie below another of them, in byte order. One alone stays as it is. */
export function topPaths(paths: readonly string[]): string[] {
  if (paths.length <= 1) return [...paths];
  const unique = [...new Set(paths)];
  const below = (path: string, other: string) =>
    path !== other && path.startsWith(other.endsWith('/') ? other : `${other}/`);
  return unique.filter((path) => !unique.some((other) => below(path, other))).sort(byBytes);
}

/** Compares texts by their bytes in UTF-8. */
export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
