/** The worker task `fs.compare`: what has changed between the trees of two content digests. */
import type { Digest } from '../oci/index.ts';
import { listsOf } from './list-db.ts';
import type { ListedFile } from './listing.ts';

/** What it was, and what it is. */
interface Turn {
  before: string;
  now: string;
}

/** How a file differs from what it was. Modes are octal, an owner is `uid:gid`. */
export type FileChange =
  | { path: string; how: 'added' | 'removed' | 'type' }
  | { path: string; how: 'changed'; contents: boolean; mode?: Turn; owner?: Turn };

/** What differs between two trees. */
export interface TreeChanges {
  /** How many files differ. */
  count: number;
  /** The first of them. */
  changes: FileChange[];
}

interface CompareArgs {
  /** SQLite file with the lists. */
  listDb: string;
  now: Digest;
  before: Digest[];
  /** Most changes that are told by name. */
  most: number;
}

/** For each of `before`: the changes from it to `now`, or undefined where a list is not kept (any more). */
export function compareLists({ listDb, now, before, most }: CompareArgs): (TreeChanges | undefined)[] {
  const lists = listsOf(listDb, [now, ...before]);
  const files = lists.get(now);
  return before.map((digest) => {
    const old = lists.get(digest);
    return files === undefined || old === undefined ? undefined : treeChanges(old, files, most);
  });
}

/** What differs between two lists; of the changes the first `most`. Pure. */
function treeChanges(
  before: ReadonlyMap<string, ListedFile>,
  now: ReadonlyMap<string, ListedFile>,
  most: number,
): TreeChanges {
  const found: TreeChanges = { count: 0, changes: [] };
  const add = (change: FileChange) => {
    found.count++;
    if (found.changes.length < most) found.changes.push(change);
  };
  for (const [path, file] of now) {
    const old = before.get(path);
    const change = old === undefined ? { path, how: 'added' as const } : changeOf(path, old, file);
    if (change !== undefined) add(change);
  }
  for (const path of before.keys()) if (!now.has(path)) add({ path, how: 'removed' });
  return found;
}

function changeOf(path: string, old: ListedFile, file: ListedFile): FileChange | undefined {
  if (old.type !== file.type) return { path, how: 'type' };
  const change: FileChange = { path, how: 'changed', contents: old.print !== file.print };
  if (old.mode !== file.mode) change.mode = { before: old.mode.toString(8), now: file.mode.toString(8) };
  if (old.uid !== file.uid || old.gid !== file.gid) {
    change.owner = { before: `${old.uid}:${old.gid}`, now: `${file.uid}:${file.gid}` };
  }
  return change.contents || change.mode !== undefined || change.owner !== undefined ? change : undefined;
}
