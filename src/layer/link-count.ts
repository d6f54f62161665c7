/** Counts the names that a file has in a tree. Its names elsewhere (in another layer or a kept folder) do not count. */
import type { FsEntry, FsView } from '../fs/index.ts';

/** Returns the number of names that a file of a view has in that view. */
export type LinkCount = (entry: FsEntry) => number;

/**
 * Makes the count for the view that `open` returns. The whole view is read once, when a file with several names is
 * first asked for.
 */
export function linkCount(open: () => FsView): LinkCount {
  let counts: Map<string, number> | undefined;
  return (entry) => {
    if (entry.nlink < 2) return entry.nlink;
    counts ??= countAll(open());
    return counts.get(inodeOf(entry)) ?? 1;
  };
}

function countAll(view: FsView): Map<string, number> {
  const counts = new Map<string, number>();
  const folders = ['/'];
  for (let path = folders.pop(); path !== undefined; path = folders.pop()) {
    for (const entry of view.readdir(path)) {
      if (entry.type === 'dir') folders.push(entry.path);
      else if (entry.nlink > 1) counts.set(inodeOf(entry), (counts.get(inodeOf(entry)) ?? 0) + 1);
    }
  }
  return counts;
}

function inodeOf({ dev, ino }: FsEntry): string {
  return `${dev}:${ino}`;
}
