/**
 * A look at a build context: one stat for each file, kept as raw words. A view of the folder takes these stats instead
 * of asking the system again. A fingerprint of them tells whether anything changed since a tree's digest was
 * remembered; for most contexts of a cached build that is all there is to find out.
 */
import { createHash, type Hash } from 'node:crypto';
import {
  compareNames,
  ctimeNsWord,
  ctimeWord,
  HostStat,
  lstatInto,
  modeWord,
  rawName,
  readdirSync,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  statWords,
} from '../linux/index.ts';

/** The largest number of files looked at; a look at a huge context stops there. */
const most = 50_000;
/** Folders that contexts often have and builds rarely read. */
const skippedNames = new Set(['.git', 'node_modules']);

/** The stats of one folder: names in byte order, and `statWords` words for each (all 0: gone since). */
interface SeenFolder {
  names: string[];
  stats: Uint32Array;
}

/** One entry of the context's own folder, with everything below it. */
interface Top {
  mode: number;
  /** For a folder: the hash of everything below it. */
  hash?: Hash;
  links: boolean;
  /** Folders below it that were skipped, as paths relative to the context. */
  skipped: string[];
  /** The youngest ctime, in s since the epoch. */
  youngest: number;
  pending: string[];
  digest?: string;
}

/** The look at one context. It may stop early: a view asks the system for whatever was not seen. */
export class Look {
  readonly dir: string;
  /** The time when the look began, ms since the epoch. */
  readonly started = Date.now();
  readonly #folders = new Map<string, SeenFolder>();
  readonly #tops = new Map<string, Top>();
  readonly #root: SeenFolder;
  /** Entries that may still have folders to look at. */
  readonly #open: Top[] = [];
  #count = 0;

  /** Looks at the folder's own entries; `step` and `finish` go deeper. `dir` is an absolute path. */
  constructor(dir: string) {
    this.dir = dir;
    this.#root = this.#read(dir);
    const { names, stats } = this.#root;
    for (const [i, name] of names.entries()) {
      const top: Top = { mode: 0, links: false, skipped: [], youngest: 0, pending: [] };
      this.#note(top, name, stats, i * statWords);
      top.mode = stats[i * statWords + modeWord] as number;
      this.#tops.set(name, top);
      if (top.pending.length > 0) this.#open.push(top);
    }
  }

  /** Looks at one more folder; false when there is none left, or enough files were seen. */
  step(): boolean {
    if (this.#count > most) return false;
    for (let top = this.#open.at(-1); top !== undefined; top = this.#open.at(-1)) {
      if (this.#deepen(top)) return true;
      this.#open.pop();
    }
    return false;
  }

  /** Looks at everything below some entries of the context's folder, or below all. Throws the errors of `giveWay`. */
  finish(names: ReadonlySet<string> | undefined, giveWay: () => void): void {
    for (const [name, top] of this.#tops) {
      if (names !== undefined && !names.has(name)) continue;
      while (this.#count <= most && this.#deepen(top)) giveWay();
    }
  }

  /** The stats of a folder; each can be taken once. */
  take(hostDir: string): SeenFolder | undefined {
    const seen = this.#folders.get(hostDir);
    this.#folders.delete(hostDir);
    return seen;
  }

  /**
   * The entries of the context's folder that a path leads to; `matches` compares names with the path's first part.
   * Everything below them has been looked at. Undefined when the path goes through links and so could lead anywhere.
   * Throws the errors of `giveWay`.
   */
  topsOf(path: string, matches: (name: string) => boolean, giveWay: () => void): Set<string> | undefined {
    const found = new Set([...this.#tops.keys()].filter(matches));
    this.finish(found, giveWay);
    const deep = path.includes('/', 1);
    for (const name of found) {
      const { mode, links } = this.#tops.get(name) as Top;
      if ((mode & S_IFMT) === S_IFLNK || (deep && links)) return undefined;
    }
    return found;
  }

  /**
   * A fingerprint of some entries of the context's folder, or of all, with everything below. An equal fingerprint means
   * that nothing has changed. Undefined when files were skipped (`excluded` tells which skipped folders do not matter),
   * or when something changed so recently that a further change might not show.
   */
  fingerprint(
    names: ReadonlySet<string> | undefined,
    excluded: (path: string) => boolean,
  ): string | undefined {
    const hash = createHash('sha256');
    const { names: all, stats } = this.#root;
    for (const [i, name] of all.entries()) {
      if (names !== undefined && !names.has(name)) continue;
      const top = this.#tops.get(name) as Top;
      if (top.pending.length > 0 || this.#count > most || !top.skipped.every(excluded)) return undefined;
      if (top.mode === 0 || top.youngest > this.started / 1000 - settled) return undefined;
      top.digest ??= top.hash?.digest('hex') ?? '';
      hash.update(rawName(`${name}\0${top.digest}\0`));
      hash.update(stats.subarray(i * statWords, (i + 1) * statWords));
    }
    return hash.digest('hex');
  }

  #deepen(top: Top): boolean {
    const rel = top.pending.pop();
    if (rel === undefined) return false;
    const seen = this.#read(`${this.dir}/${rel}`);
    top.hash ??= createHash('sha256');
    top.hash.update(rawName(`${rel}\0${seen.names.join('\0')}\0\n`));
    top.hash.update(seen.stats);
    for (const [i, name] of seen.names.entries())
      this.#note(top, `${rel}/${name}`, seen.stats, i * statWords);
    return true;
  }

  #note(top: Top, rel: string, stats: Uint32Array, at: number): void {
    const mode = stats[at + modeWord] as number;
    const type = mode & S_IFMT;
    if (type === S_IFLNK) top.links = true;
    // A file vanished while it was looked at: this fingerprint belongs to no state that ever was.
    const changed = mode === 0 ? Number.POSITIVE_INFINITY : ctimeOf(stats, at);
    if (changed > top.youngest) top.youngest = changed;
    if (type !== S_IFDIR) return;
    if (skippedNames.has(rel.slice(rel.lastIndexOf('/') + 1))) top.skipped.push(rel);
    else top.pending.push(rel);
  }

  #read(hostDir: string): SeenFolder {
    const names = namesOf(hostDir).sort(compareNames);
    const stats = new Uint32Array(names.length * statWords);
    for (const [i, name] of names.entries()) {
      try {
        lstatInto(`${hostDir}/${name}`, stats, i * statWords);
      } catch {
        // The view will complain of a file that cannot be looked at.
      }
    }
    this.#count += names.length;
    const seen = { names, stats };
    this.#folders.set(hostDir, seen);
    return seen;
  }
}

/** A change less than this (s) before the look might be followed by another that leaves the same times. */
const settled = 0.1;

function ctimeOf(stats: Uint32Array, at: number): number {
  return (
    ((stats[at + ctimeWord + 1] as number) | 0) * 2 ** 32 +
    (stats[at + ctimeWord] as number) +
    (stats[at + ctimeNsWord] as number) / 1e9
  );
}

function namesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** A stat of a seen folder; undefined when the file was gone. */
export function seenStat({ stats }: SeenFolder, index: number): HostStat | undefined {
  const at = index * statWords;
  return stats[at + modeWord] === 0 ? undefined : new HostStat(stats, at);
}
