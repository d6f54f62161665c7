/**
 * A look at a build context: one stat a file, kept as raw words. A view of the folder takes them instead of asking the
 * system again, and a fingerprint of them tells whether anything at all changed since a tree's digest was remembered,
 * which for most contexts of a cached build is all there is to find out.
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

/** Files of a context that are worth it; what a huge one has more is left. */
const most = 50_000;
/** Folders that contexts have and builds rarely read. */
const skippedNames = new Set(['.git', 'node_modules']);

/** What was seen of one folder: names in byte order, and `statWords` words for each (all 0: gone since). */
interface SeenFolder {
  names: string[];
  stats: Uint32Array;
}

/** One entry of the context's own folder, with all below it. */
interface Top {
  mode: number;
  /** Of what is below it, for a folder. */
  hash?: Hash;
  links: boolean;
  /** Folders below it that were not looked into: paths relative to the context. */
  skipped: string[];
  /** The youngest ctime, in s since the epoch. */
  youngest: number;
  pending: string[];
  digest?: string;
}

export class Look {
  readonly dir: string;
  /** When it began, in ms since the epoch. */
  readonly started = Date.now();
  readonly #folders = new Map<string, SeenFolder>();
  readonly #tops = new Map<string, Top>();
  readonly #root: SeenFolder;
  /** Those with something pending, as far as is known. */
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

  /** Looks at one more folder; false when there is none, or enough was seen. */
  step(): boolean {
    if (this.#count > most) return false;
    for (let top = this.#open.at(-1); top !== undefined; top = this.#open.at(-1)) {
      if (this.#deepen(top)) return true;
      this.#open.pop();
    }
    return false;
  }

  /** Looks at all below some entries of the context's folder, or below all. Throws what `giveWay` throws. */
  finish(names: ReadonlySet<string> | undefined, giveWay: () => void): void {
    for (const [name, top] of this.#tops) {
      if (names !== undefined && !names.has(name)) continue;
      while (this.#count <= most && this.#deepen(top)) giveWay();
    }
  }

  /** What was seen of a folder, once. */
  take(hostDir: string): SeenFolder | undefined {
    const seen = this.#folders.get(hostDir);
    this.#folders.delete(hostDir);
    return seen;
  }

  /**
   * The entries of the context's folder that a path, whose first part matches, leads to without links on the way, with
   * all below them looked at; undefined: what it leads to could be anywhere. Throws what `giveWay` throws.
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
   * Stands for the state of some entries of the context's folder, or of all, with everything below; the same again
   * means that nothing changed. Undefined when not all was seen (`excluded` says which skipped folders do not matter),
   * or when something changed so lately that a further change might not show.
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
    // Gone while it was looked at: the fingerprint is of no state there was.
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
        // What cannot be looked at is for the view to complain of.
      }
    }
    this.#count += names.length;
    const seen = { names, stats };
    this.#folders.set(hostDir, seen);
    return seen;
  }
}

/** A change within this time (s) of the look might be followed by one that leaves the same times. */
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
