/** Finds the changes between two trees. */
import { readSync } from 'node:fs';
import { type FsEntry, type FsView, openEntry } from '../fs/index.ts';
import { closeFd, compareNames } from '../linux/index.ts';
import { type LinkCount, linkCount } from './link-count.ts';

/** One change between two trees. */
export type TreeChange =
  /** A new entry, or one of another type than before (a folder in place of a file …); `entry` is the upper tree's. */
  | { kind: 'add'; path: string; entry: FsEntry }
  | { kind: 'modify'; path: string; entry: FsEntry }
  | { kind: 'delete'; path: string };

/**
 * The changes that turn `lower` into `upper`: sorted by name within each folder, folders before their contents, without
 * the root. A folder with a change in it counts as modified; its own time alone is no change. Files are the same when
 * their metadata are equal and their times have fractions of a second; otherwise their bytes decide.
 *
 *     for (const { kind, path } of diffViews(before, after)) console.log(kind, path); // modify /etc, add /etc/new
 */
export function* diffViews(lower: FsView, upper: FsView): Generator<TreeChange, void, undefined> {
  const trees = { lower, upper, lowerLinks: linkCount(() => lower), upperLinks: linkCount(() => upper) };
  yield* diffFolder(trees, '/', true, []);
}

interface Trees {
  lower: FsView;
  upper: FsView;
  lowerLinks: LinkCount;
  upperLinks: LinkCount;
}

/**
 * Compares two folders. `parents`: folders above that will count as modified once a change below them is found; they
 * are yielded before that change, and the list is emptied.
 */
function* diffFolder(
  trees: Trees,
  dir: string,
  inLower: boolean,
  parents: FsEntry[],
): Generator<TreeChange, void, undefined> {
  const { lower, upper } = trees;
  function* announce(): Generator<TreeChange, void, undefined> {
    for (const entry of parents.splice(0)) yield { kind: 'modify', path: entry.path, entry };
  }
  for (const [old, now] of paired(inLower ? lower.readdir(dir) : [], upper.readdir(dir))) {
    if (now === undefined) {
      if (old === undefined) continue;
      yield* announce();
      yield { kind: 'delete', path: old.path };
      continue;
    }
    const both = old?.type === 'dir' && now.type === 'dir';
    if (old !== undefined && sameEntry(trees, old, now)) {
      if (now.type !== 'dir') continue;
      parents.push(now);
      yield* diffFolder(trees, now.path, true, parents);
      // Nothing inside changed, so the folder was never yielded.
      if (parents.at(-1) === now) parents.pop();
      continue;
    }
    yield* announce();
    const same = old !== undefined && old.type === now.type;
    yield { kind: same ? 'modify' : 'add', path: now.path, entry: now };
    if (now.type === 'dir') yield* diffFolder(trees, now.path, both, []);
  }
}

/** Merges two sorted lists of entries by name. */
function* paired(
  a: readonly FsEntry[],
  b: readonly FsEntry[],
): Generator<[FsEntry | undefined, FsEntry | undefined], void, undefined> {
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const x = a[i];
    const y = b[j];
    const order = x === undefined ? 1 : y === undefined ? -1 : compareNames(x.name, y.name);
    yield [order <= 0 ? x : undefined, order >= 0 ? y : undefined];
    if (order <= 0) i++;
    if (order >= 0) j++;
  }
}

/**
 * Whether a file or folder is the same in two trees, by the rule of `diffViews`. Without `lowerLinks`, `b` is in a
 * separate layer, and only its names in this layer count.
 */
export function sameEntry(
  { lower, upper, lowerLinks, upperLinks }: Omit<Trees, 'lowerLinks'> & Partial<Trees>,
  a: FsEntry,
  b: FsEntry,
): boolean {
  if (a.hostPath === b.hostPath || (a.dev === b.dev && a.ino === b.ino && a.ino !== 0n && a.type !== 'dir')) {
    return true;
  }
  if (a.type !== b.type || a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid) return false;
  if (a.link !== b.link || a.rdev !== b.rdev) return false;
  if (a.type !== 'dir' && (a.mtimeNs !== b.mtimeNs || a.size !== b.size)) return false;
  if (!sameXattrs(lower.xattrs(a), upper.xattrs(b))) return false;
  // A new hard link changes all names of its file, since overlayfs copies the file up.
  if (a.type === 'file' && (lowerLinks?.(a) ?? 1) !== upperLinks(b)) return false;
  if (a.type !== 'file' || a.size === 0 || a.mtimeNs % 1_000_000_000n !== 0n) return true;
  return sameBytes(a, b);
}

function sameXattrs(a: [string, Buffer][], b: [string, Buffer][]): boolean {
  return a.length === b.length && a.every(([name, value], i) => name === b[i]?.[0] && value.equals(b[i]![1]));
}

const step = 256 * 1024;

function sameBytes(a: FsEntry, b: FsEntry): boolean {
  const left = openEntry(a);
  try {
    const right = openEntry(b);
    try {
      const x = Buffer.allocUnsafe(Math.min(step, a.size));
      const y = Buffer.allocUnsafe(x.length);
      for (;;) {
        const n = readSync(left, x);
        const m = readSync(right, y);
        if (n !== m) return false;
        if (n === 0) return true;
        if (x.compare(y, 0, n, 0, n) !== 0) return false;
      }
    } finally {
      closeFd(right);
    }
  } finally {
    closeFd(left);
  }
}
