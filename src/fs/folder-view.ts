/**
 * A folder on this host as a client's build context. It is seen through exclude and include patterns, and through
 * follow-paths (paths that a build uses; the targets of their symlinks are needed too), each with BuildKit's meaning.
 */
import { errnoCode, fail } from '../errors/index.ts';
import { compareNames, type HostStat } from '../linux/index.ts';
import { hasWildcard, splitWildcards } from '../words/index.ts';
import { atOnce, sorted } from '../workers/index.ts';
import { followPatterns } from './follow.ts';
import { IgnoreMatcher, type MatchState } from './ignore.ts';
import { type Look, seenStat } from './look.ts';
import { dirName, joinPath } from './paths.ts';
import { listHost, readHost } from './real.ts';
import { entryOf, hostXattrs, lstatHost } from './stat.ts';
import type { FsEntry, FsView, ViewSpec } from './view.ts';

type FolderSpec = Extract<ViewSpec, { kind: 'folder' }>;

interface Child {
  entry: FsEntry;
  include?: MatchState;
  exclude?: MatchState;
  /**
   * Whether the entry passes the filter itself. A folder that does not is there when something below it is selected.
   */
  selected: boolean;
}

/** A view of a folder that reads each part once and keeps it, so one view sees one state of each folder. */
export class FolderView implements FsView {
  readonly #spec: FolderSpec;
  readonly #look: Look | undefined;
  /** Called for each file that is compared with patterns; it may throw. */
  giveWay: (() => void) | undefined;
  readonly #includes: IgnoreMatcher | undefined;
  readonly #excludes: IgnoreMatcher | undefined;
  readonly #root: Child;
  readonly #children = new Map<string, Map<string, Child>>();
  readonly #shown = new Map<string, boolean>();
  /** Folders in which wildcards search; they are there even if nothing in them matches. */
  readonly #searched: ReadonlySet<string>;

  /** Opens the view. Throws `not-found` and `invalid` (hop `context`) when the path is no folder. */
  constructor(spec: FolderSpec, look?: Look, giveWay?: () => void) {
    this.giveWay = giveWay;
    this.#spec = spec;
    this.#look = look;
    const st = lstatHost(`${spec.dir}/.`);
    if (st === undefined) {
      throw fail('not-found', 'context', `the folder ${spec.dir} does not exist`, {
        hint: 'Check the path of the build context.',
      });
    }
    const entry = this.#own(entryOf('/', '', spec.dir, st));
    // The attributes of a client's own folder do not matter to the build.
    if (spec.rootOwned) entry.mode = 0o755;
    this.#root = { entry, selected: true };
    const follow = spec.followPaths && followPatterns(spec.dir, spec.followPaths);
    this.#searched = new Set(follow?.filter(hasWildcard).map((path) => splitWildcards(path).base));
    const includes = [...(spec.includes ?? []), ...(follow ?? [])];
    if (includes.length > 0) this.#includes = new IgnoreMatcher(includes);
    if (spec.excludes !== undefined && spec.excludes.length > 0) {
      this.#excludes = new IgnoreMatcher(spec.excludes);
    }
  }

  lstat(path: string): FsEntry | undefined {
    const child = this.#find(path);
    return child !== undefined && this.#isShown(child) ? child.entry : undefined;
  }

  readdir(path: string): FsEntry[] {
    return atOnce(this.#list(path, false));
  }

  list(path: string): Generator<void, FsEntry[]> {
    return this.#list(path, true);
  }

  *#list(path: string, cut: boolean): Generator<void, FsEntry[]> {
    const dir = this.#find(path);
    if (dir === undefined || !this.#isShown(dir)) throw fail('not-found', 'file', `${path}: no such folder`);
    if (dir.entry.type !== 'dir') throw fail('invalid', 'file', `${path}: not a folder`);
    const entries: FsEntry[] = [];
    for (const child of (yield* this.#reading(dir, cut)).values()) {
      yield;
      if (this.#isShown(child)) entries.push(child.entry);
    }
    return entries;
  }

  xattrs(entry: FsEntry): [name: string, value: Buffer][] {
    return hostXattrs(entry);
  }

  #find(path: string): Child | undefined {
    if (path === '/') return this.#root;
    const dir = this.#find(dirName(path));
    if (dir === undefined || dir.entry.type !== 'dir') return undefined;
    return this.#read(dir).get(path.slice(path.lastIndexOf('/') + 1));
  }

  /** The entries of a folder, in byte order, without those that no pattern can select. */
  #read(dir: Child): Map<string, Child> {
    return atOnce(this.#reading(dir, false));
  }

  /** Reads a folder. `cut`: reads the names a few at a time, which takes longer but lets other work in between. */
  *#reading(dir: Child, cut: boolean): Generator<void, Map<string, Child>> {
    const known = this.#children.get(dir.entry.path);
    if (known !== undefined) return known;
    const children = new Map<string, Child>();
    const seen = this.#look?.take(dir.entry.hostPath);
    for (const [i, name] of (seen?.names ?? (yield* this.#names(dir.entry, cut))).entries()) {
      yield;
      const child = this.#child(dir, name, seen && seenStat(seen, i));
      if (child !== undefined) children.set(name, child);
    }
    // Another caller may have read it while this one gave way.
    const first = this.#children.get(dir.entry.path) ?? children;
    this.#children.set(dir.entry.path, first);
    return first;
  }

  *#names({ hostPath, path }: FsEntry, cut: boolean): Generator<void, string[]> {
    try {
      if (!cut) return readHost(hostPath, path).sort(compareNames);
      return yield* sorted(yield* listHost(hostPath, path), compareNames);
    } catch (err) {
      const code = errnoCode(err);
      if (code !== 'EACCES' && code !== 'EPERM') throw err;
      throw fail('denied', 'context', `cannot read the folder ${hostPath}`, {
        hint: 'Exclude it with .dockerignore, or change its permissions.',
        cause: err,
      });
    }
  }

  #child(dir: Child, name: string, seen: HostStat | undefined): Child | undefined {
    this.giveWay?.();
    const path = joinPath(dir.entry.path, name);
    const rel = path.slice(1);
    const include = this.#includes?.match(rel, dir.include);
    const exclude = this.#excludes?.match(rel, dir.exclude);
    const selected = (include?.matched ?? true) && !(exclude?.matched ?? false);
    if (!selected) {
      const included = include?.matched !== false || this.#includes!.canDifferBelow(rel, include);
      const kept = exclude?.matched !== true || this.#excludes!.canDifferBelow(rel, exclude);
      if (!included || !kept) return undefined;
    }
    const host = `${dir.entry.hostPath}/${name}`;
    const st = seen ?? lstatHost(host);
    if (st === undefined) return undefined;
    if (!selected && !st.isDirectory()) return undefined;
    return { entry: this.#own(entryOf(path, name, host, st)), include, exclude, selected };
  }

  #own(entry: FsEntry): FsEntry {
    if (this.#spec.rootOwned) {
      entry.uid = 0;
      entry.gid = 0;
    }
    return entry;
  }

  #isShown(child: Child): boolean {
    if (child.selected) return true;
    if (child.entry.type !== 'dir') return false;
    const { path } = child.entry;
    if (this.#searched.has(path) && child.exclude?.matched !== true) return true;
    let shown = this.#shown.get(path);
    if (shown === undefined) {
      shown = false;
      for (const below of this.#read(child).values()) {
        if (!this.#isShown(below)) continue;
        shown = true;
        break;
      }
      this.#shown.set(path, shown);
    }
    return shown;
  }
}
