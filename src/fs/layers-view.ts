/**
 * Merges layer folders in overlayfs's format without mounting them.
 * Format: https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories
 */
import { fail } from '../errors/index.ts';
import { compareNames } from '../linux/index.ts';
import { sorted } from '../workers/index.ts';
import { joinPath, splitPath } from './paths.ts';
import { listHost, readHost } from './real.ts';
import { entryOf, hostXattrs, isOpaque, isWhiteout, lstatHost } from './stat.ts';
import type { FsEntry, FsView } from './view.ts';

/** One name looked up in the host folders that make up a merged folder. */
export interface FoundName {
  entry: FsEntry;
  /** For a folder: the host folders that make it up, topmost first. */
  dirs: string[];
}

/**
 * Looks a name up in a merged folder. `dirs`: the host folders that make the folder up, topmost first. A whiteout or a
 * non-folder ends the search; an opaque folder is the last that counts.
 */
export function findIn(dirs: readonly string[], name: string, path: string): FoundName | undefined {
  let found: FoundName | undefined;
  for (let i = 0; i < dirs.length; i++) {
    const host = `${dirs[i]}/${name}`;
    const st = lstatHost(host);
    if (st === undefined) continue;
    if (isWhiteout(st)) break;
    if (st.isDirectory()) {
      found ??= { entry: entryOf(path, name, host, st), dirs: [] };
      found.dirs.push(host);
      if (i + 1 < dirs.length && isOpaque(host)) break;
    } else {
      found ??= { entry: entryOf(path, name, host, st), dirs: [] };
      break;
    }
  }
  return found;
}

/** The names in the merged folder at a path, in byte order. Names of whiteouts may be among them. */
export function namesIn(dirs: readonly string[], path: string): string[] {
  return union(dirs.map((dir) => readHost(dir, path))).sort(compareNames);
}

function union(all: readonly string[][]): string[] {
  const [first = [], ...others] = all;
  return others.length === 0 ? first : [...new Set(all.flat())];
}

/** The most paths that a view remembers as missing: a step asks again and again for the same few. */
const mostMissing = 64;

/** Returns a path that leads to a host folder whatever is done to its name; undefined when it is no folder any more. */
type HoldFolder = (host: string) => string | undefined;

/**
 * A read-only view of layers. They must not change while it is used, unless `hold` holds each folder before it is read.
 */
export class LayersView implements FsView {
  /** Merged folder → the host folders that make it up. */
  readonly #folders = new Map<string, string[]>();
  readonly #hold: HoldFolder | undefined;
  readonly #held = new Set<string>();
  /** Some paths that are not there: each lookup goes through all layers. */
  readonly #missing = new Set<string>();

  constructor(dirs: readonly string[], hold?: HoldFolder) {
    this.#folders.set('/', [...dirs]);
    this.#hold = hold;
  }

  lstat(path: string): FsEntry | undefined {
    if (path === '/') return this.#root();
    const parts = splitPath(path);
    const name = parts.pop()!;
    let dir = '/';
    for (const part of parts) {
      const next = joinPath(dir, part);
      if (this.#folders.get(next) === undefined && this.#lookUp(dir, part, next)?.type !== 'dir')
        return undefined;
      dir = next;
    }
    return this.#lookUp(dir, name, path);
  }

  #lookUp(dir: string, name: string, path: string): FsEntry | undefined {
    if (this.#missing.has(path)) return undefined;
    const entry = this.#enter(dir, name, path)?.entry;
    // What is held may change.
    const isKept = this.#hold === undefined && this.#missing.size < mostMissing;
    if (entry === undefined && isKept) this.#missing.add(path);
    return entry;
  }

  readdir(path: string): FsEntry[] {
    const dirs = this.#dirs(path) ?? this.#open(path);
    const entries: FsEntry[] = [];
    for (const name of namesIn(dirs, this.#hold === undefined ? path : '')) {
      const found = this.#enter(path, name, joinPath(path, name));
      if (found !== undefined) entries.push(found.entry);
    }
    return entries;
  }

  *list(path: string): Generator<void, FsEntry[]> {
    const dirs = this.#dirs(path) ?? this.#open(path);
    const all: string[][] = [];
    for (const dir of dirs) all.push(yield* listHost(dir, this.#hold === undefined ? path : ''));
    const entries: FsEntry[] = [];
    for (const name of yield* sorted(union(all), compareNames)) {
      yield;
      const found = this.#enter(path, name, joinPath(path, name));
      if (found !== undefined) entries.push(found.entry);
    }
    return entries;
  }

  xattrs(entry: FsEntry): [name: string, value: Buffer][] {
    return hostXattrs(entry);
  }

  #enter(dir: string, name: string, path: string): FoundName | undefined {
    const found = findIn(this.#dirs(dir) ?? [], name, path);
    if (found?.entry.type === 'dir' && !this.#held.has(path)) this.#folders.set(path, found.dirs);
    return found;
  }

  /** The host folders of a merged folder that was found before, ready to be read. */
  #dirs(path: string): string[] | undefined {
    const dirs = this.#folders.get(path);
    if (dirs === undefined || this.#hold === undefined || this.#held.has(path)) return dirs;
    const held = dirs.flatMap((dir) => this.#hold?.(dir) ?? []);
    this.#folders.set(path, held);
    this.#held.add(path);
    return held;
  }

  #open(path: string): string[] {
    const entry = this.lstat(path);
    if (entry === undefined) throw fail('not-found', 'file', `${path}: no such folder`);
    const dirs = this.#dirs(path);
    if (entry.type !== 'dir' || dirs === undefined) throw fail('invalid', 'file', `${path}: not a folder`);
    return dirs;
  }

  #root(): FsEntry {
    const top = this.#dirs('/')?.[0];
    const host = this.#hold === undefined ? top : `${top}/.`;
    const st = host === undefined ? undefined : lstatHost(host);
    if (host === undefined || st === undefined) {
      throw fail('internal', 'file', `the layer folder ${host ?? ''} is gone`);
    }
    return entryOf('/', '', host, st);
  }
}
