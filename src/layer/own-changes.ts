/** Finds the changes of a layer to the tree it was made on, in a form that fits on any other tree. */
import {
  entryOf,
  type FsEntry,
  type FsView,
  isOpaque,
  isWhiteout,
  lstatHost,
  namesOfHost,
  openView,
} from '../fs/index.ts';
import { compareNames } from '../linux/index.ts';
import { sameEntry, type TreeChange } from './diff.ts';
import { type LinkCount, linkCount } from './link-count.ts';
import { checkRedirect } from './walk.ts';

/** The part of the tree below that shows in a folder of a layer. */
type Below =
  /** The folder below shows with its files. */
  | 'merged'
  /** There is a folder below, and this layer hides its contents. */
  | 'hidden'
  /** There is no folder below. */
  | 'none';

/**
 * The changes of a layer folder (in overlayfs's format) to `lower`, the tree it was made on: sorted by name within each
 * folder, folders before their contents, without the root. A folder that hides the one below becomes deletions of the
 * entries that `lower` has there, so that it hides nothing of another tree. Entries that are equal in `lower` are left
 * out.
 */
export function* ownChanges(dir: string, lower: FsView): Generator<TreeChange, void, undefined> {
  yield* changesIn(dir, '', { lower, links: linksOf(dir) }, 'merged', []);
}

/** The tree below a layer, and how many names files of the layer have in it. */
interface Base {
  lower: FsView;
  links: LinkCount;
}

function linksOf(dir: string): LinkCount {
  return linkCount(() => openView({ kind: 'layers', dirs: [dir] }));
}

/**
 * Walks one folder. `unsaid`: unchanged folders above that were not yielded yet; they are yielded before the first
 * change below them, and the list is emptied.
 */
function* changesIn(
  host: string,
  path: string,
  base: Base,
  below: Below,
  unsaid: FsEntry[],
): Generator<TreeChange, void, undefined> {
  const { lower } = base;
  function* announce(): Generator<TreeChange, void, undefined> {
    for (const entry of unsaid.splice(0)) yield { kind: 'modify', path: entry.path, entry };
  }
  for (const name of namesOf(host, path, lower, below)) {
    const child = `${path}/${name}`;
    const childHost = `${host}/${name}`;
    const st = lstatHost(childHost);
    // In a layer without its tree, whiteouts count although there is nothing below.
    if (st === undefined || isWhiteout(st)) {
      yield* announce();
      yield { kind: 'delete', path: child };
      continue;
    }
    const entry = entryOf(child, name, childHost, st);
    const old = below === 'none' ? undefined : lower.lstat(child);
    const same = old !== undefined && isAsBefore(base, old, entry);
    if (entry.type !== 'dir') {
      if (same) continue;
      yield* announce();
      yield { kind: old?.type === entry.type ? 'modify' : 'add', path: child, entry };
      continue;
    }
    checkRedirect(childHost, child);
    const isHidden = below === 'hidden' || isOpaque(childHost);
    const within: Below = old?.type !== 'dir' ? 'none' : isHidden ? 'hidden' : 'merged';
    if (same) {
      unsaid.push(entry);
      yield* changesIn(childHost, child, base, within, unsaid);
      if (unsaid.at(-1) === entry) unsaid.pop();
      continue;
    }
    yield* announce();
    yield { kind: old?.type === 'dir' ? 'modify' : 'add', path: child, entry };
    yield* changesIn(childHost, child, base, within, []);
  }
}

/** The names in a layer's folder and those below that it hides, sorted. */
function namesOf(host: string, path: string, lower: FsView, below: Below): string[] {
  const names = namesOfHost(host, path);
  if (below !== 'hidden') return names.sort(compareNames);
  const known = new Set(names);
  const hidden = lower.readdir(path).map(({ name }) => name);
  return [...names, ...hidden.filter((name) => !known.has(name))].sort(compareNames);
}

/**
 * Whether a layer folder fits on another tree than `lower` without changes: it hides no whole folder and, with `exact`,
 * has no entry that is equal in `lower`.
 */
export function isMovable(dir: string, lower: FsView, exact: boolean): boolean {
  return movableFrom(dir, '', { lower, links: linksOf(dir) }, true, exact);
}

function movableFrom(host: string, path: string, base: Base, inLower: boolean, exact: boolean): boolean {
  const { lower } = base;
  const names = namesOfHost(host, path);
  // An unchanged folder is in a layer only because of its contents.
  if (exact && names.length === 0 && inLower && path !== '') {
    const [old, now] = [lower.lstat(path), lstatHost(host)];
    if (old !== undefined && now !== undefined && isAsBefore(base, old, entryOf(path, '', host, now)))
      return false;
  }
  for (const name of names) {
    const child = `${path}/${name}`;
    const childHost = `${host}/${name}`;
    const st = lstatHost(childHost);
    if (st === undefined || isWhiteout(st)) continue;
    const isFolder = st.isDirectory();
    if (isFolder && isOpaque(childHost)) return false;
    const old = inLower ? lower.lstat(child) : undefined;
    if (!isFolder) {
      if (exact && old !== undefined && isAsBefore(base, old, entryOf(child, name, childHost, st)))
        return false;
    } else if (!movableFrom(childHost, child, base, old?.type === 'dir', exact)) return false;
  }
  return true;
}

/** Extended attributes are read the same way in all layers, so the lower view can read those of either entry. */
function isAsBefore({ lower, links }: Base, old: FsEntry, now: FsEntry): boolean {
  return sameEntry({ lower, upper: lower, upperLinks: links }, old, now);
}
