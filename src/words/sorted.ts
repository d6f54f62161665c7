/** A copy of an object whose names are sorted, so that its JSON is the same in whatever order they came. */
export function sortedByName<T extends object>(map: T): T {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) as T;
}
