/**
 * The worker task `fs.sum`: the checksums by which BuildKit's caches know selected parts of a view. Each file is the
 * SHA-256 of its tar header (in the form of docker's old tarsum, without name and times) and its bytes; each folder is
 * that of its own header, and of the names and checksums of what is in it.
 * https://github.com/moby/buildkit/blob/master/cache/contenthash
 */
import { createHash, type Hash } from 'node:crypto';
import { readSync } from 'node:fs';
import { bytesOf, closeFd, rawName } from '../linux/index.ts';
import { type Digest, digestOf } from '../oci/index.ts';
import { compileGlob } from '../patterns/index.ts';
import { splitWildcards } from '../words/index.ts';
import { blockSize } from './hash-blocks.ts';
import { IgnoreMatcher, type MatchState } from './ignore.ts';
import { openKept } from './kept-view.ts';
import { stopper } from './make.ts';
import { baseName, cleanPath } from './paths.ts';
import { openEntry } from './real.ts';
import { resolvePath } from './resolve.ts';
import { isSettled, StatMemory } from './stat-db.ts';
import type { ContentSelector, FsEntry, FsView, ViewSpec } from './view.ts';

interface SumArgs {
  spec: ViewSpec;
  /** The selections; all of them make one checksum, in order. */
  selectors: ContentSelector[];
  /** The SQLite file that remembers checksums of files of `folder` specs with a `cacheKey`. */
  statDb: string;
}

/**
 * The checksums of the selections in the forms of BuildKit's releases: today's, and that from before 0.26 where it is
 * another. None when the selections have something whose checksum does not tell it from all others (a device, a
 * socket), or are not there.
 */
export function sumTree({ spec, selectors, statDb }: SumArgs, ctx: { aborted(): boolean }): Digest[] {
  const memory =
    spec.kind === 'folder' && spec.cacheKey !== undefined
      ? new StatMemory(statDb, `sums ${spec.cacheKey}`)
      : undefined;
  try {
    const giveWay = stopper(ctx);
    const sums = new TreeSums(openKept(spec, giveWay), spec.kind === 'folder', memory, giveWay);
    const found = selectors.map((selector) => sums.select(selector));
    if (!found.every((each) => each !== undefined)) return [];
    const together = (each: readonly Digest[]) => digestOf(each.join('\0'));
    const digests = [together(found.map(({ now }) => now))];
    if (found.every(({ old }) => old !== undefined))
      digests.push(together(found.map(({ old }) => old as Digest)));
    return [...new Set(digests)];
  } catch (err) {
    if (err === untold) return [];
    throw err;
  } finally {
    memory?.close();
  }
}

/** Thrown for a tree whose checksum says too little of it. */
const untold = new Error('no checksum');

interface Sums {
  now: Digest;
  /** Undefined: two different trees may have the same one. */
  old: Digest | undefined;
}

/** A part of a filtered selection: a file, or a folder without what is in it. */
interface Part {
  /** Relative to the literal part of the selection, with a slash in front; '' for itself. */
  rel: string;
  name: string;
  sum: Digest;
  isFolder: boolean;
}

class TreeSums {
  readonly #view: FsView;
  /** A client's folder, whose own attributes do not matter. */
  readonly #isClients: boolean;
  readonly #memory: StatMemory | undefined;
  readonly #giveWay: () => void;
  #block: Buffer | undefined;

  constructor(view: FsView, isClients: boolean, memory: StatMemory | undefined, giveWay: () => void) {
    this.#view = view;
    this.#isClients = isClients;
    this.#memory = memory;
    this.#giveWay = giveWay;
  }

  /** The checksums of one selection; undefined when there is nothing at its path. */
  select(selector: ContentSelector): Sums | undefined {
    const { followLinks = false, wildcard = false, includes = [], excludes = [] } = selector;
    const path = cleanPath(selector.path);
    if (!wildcard && includes.length === 0 && excludes.length === 0) {
      const entry = this.#at(path, followLinks);
      if (entry === undefined) return undefined;
      const sum = this.#sum(entry);
      return { now: sum, old: sum };
    }
    const parts = this.#parts(path, selector);
    const [first] = parts;
    if (first === undefined) return { now: digestOf(''), old: digestOf('') };
    if (parts.length === 1 && baseOf(path) === first.name) return { now: first.sum, old: first.sum };
    const now = createHash('sha256');
    const old = createHash('sha256');
    for (const [i, { rel, name, sum }] of parts.entries()) {
      now.update(keyOf(rel === '' ? '/' : rel)).update(sum);
      old
        .update(i === 0 ? '' : '\0')
        .update(rawName(name))
        .update(sum);
    }
    // Names without their folders may be those of another tree.
    const isFlat = parts.every(({ isFolder, rel }) => !isFolder && rel.lastIndexOf('/') === 0);
    return { now: digest(now), old: isFlat ? digest(old) : undefined };
  }

  #at(path: string, followLast: boolean): FsEntry | undefined {
    return this.#view.lstat(resolvePath(this.#view, path, { followLast }));
  }

  /** The parts that a wildcard and patterns select, in byte order. */
  #parts(
    path: string,
    { followLinks = false, wildcard = false, includes, excludes }: ContentSelector,
  ): Part[] {
    const { base, pattern } = wildcard ? splitWildcards(path) : { base: path, pattern: '' };
    const root = this.#at(base, pattern !== '');
    if (root === undefined) return [];
    const filter = new Filter(includes, excludes);
    const parts: Part[] = [];
    // A path that ends with a slash, and only the root's does, means what is in it alone.
    const isWhole = !wildcard && path === '/';
    const take = (top: FsEntry, rel: string) => this.#walk({ top, rel, filter, followLinks, isWhole }, parts);
    if (pattern === '') {
      take(root, '');
      return parts;
    }
    const globs = pattern.split('/').map((part) => compileGlob(part));
    const search = (dir: FsEntry, depth: number, rel: string) => {
      if (dir.type !== 'dir') return;
      for (const child of this.#view.readdir(dir.path)) {
        this.#giveWay();
        if (!globs[depth]?.(child.name)) continue;
        if (depth + 1 < globs.length) search(child, depth + 1, `${rel}/${child.name}`);
        else take(child, `${rel}/${child.name}`);
      }
    };
    search(root, 0, '');
    return parts;
  }

  #walk(
    {
      top,
      rel,
      filter,
      followLinks,
      isWhole,
    }: { top: FsEntry; rel: string; filter: Filter; followLinks: boolean; isWhole: boolean },
    parts: Part[],
  ): void {
    /** The folders above, whose headers are taken when something in them is. */
    const above: { part: () => Part; taken: boolean }[] = [];
    const takeAbove = () => {
      for (const folder of above) {
        if (folder.taken) continue;
        folder.taken = true;
        parts.push(folder.part());
      }
    };
    const visit = (entry: FsEntry, below: string, parent: Matched | undefined) => {
      this.#giveWay();
      const matched = filter.match(below, parent);
      const at = below === '' ? rel : `${rel}/${below}`;
      const name = entry.path === '/' ? '' : at === '' ? entry.name : baseName(at);
      if (entry.type !== 'dir') {
        if (!matched.isIn) return;
        takeAbove();
        const isLink = entry.type === 'symlink' && followLinks && above.length === 0;
        const target = isLink ? this.#at(entry.path, true) : entry;
        if (target === undefined) throw untold;
        parts.push({ rel: at, name, sum: this.#sum(target), isFolder: false });
        return;
      }
      const isHidden = isWhole && below === '';
      const part = () => ({ rel: at, name, sum: this.#header(entry), isFolder: true });
      const folder = { part, taken: isHidden };
      if (matched.isIn && !isHidden) {
        takeAbove();
        folder.taken = true;
        parts.push(part());
      }
      if (!isHidden) above.push(folder);
      for (const child of this.#view.readdir(entry.path)) {
        visit(child, below === '' ? child.name : `${below}/${child.name}`, isHidden ? undefined : matched);
      }
      if (!isHidden) above.pop();
    };
    visit(top, '', undefined);
  }

  /** The checksum of a file, or of a folder with all that is in it. */
  #sum(entry: FsEntry): Digest {
    this.#giveWay();
    if (entry.type !== 'dir') return this.#header(entry);
    const hash = createHash('sha256');
    hash.update('\0').update(this.#header(entry));
    for (const child of this.#view.readdir(entry.path)) {
      // BuildKit's walk may come by such a name once more.
      if (child.name.startsWith(lastByte)) throw untold;
      hash.update('\0').update(rawName(child.name)).update(this.#sum(child));
    }
    return digest(hash);
  }

  /** The checksum of an entry itself, and of a file's bytes. */
  #header(entry: FsEntry): Digest {
    if (entry.path === '/' && this.#isClients) return digestOf('');
    if (entry.type !== 'file') return digest(this.#begin(entry));
    const known = this.#memory?.get(entry);
    if (known !== undefined) return known as Digest;
    const started = Date.now();
    const hash = this.#begin(entry);
    this.#addBytes(entry, hash);
    const sum = digest(hash);
    if (isSettled(entry.ctimeNs, started)) this.#memory?.put(entry, sum);
    return sum;
  }

  #begin(entry: FsEntry): Hash {
    const type = typeFlags[entry.type];
    if (type === undefined) throw untold;
    const mode = entry.type === 'symlink' ? 0o777 : entry.mode;
    const hash = createHash('sha256');
    hash.update(`namemode${mode}uid${entry.uid}gid${entry.gid}size${entry.size}typeflag${type}linkname`);
    hash.update(rawName(entry.link ?? ''));
    hash.update('unamegnamedevmajor0devminor0');
    for (const [name, value] of this.#view.xattrs(entry)) hash.update(rawName(name)).update(value);
    return hash;
  }

  #addBytes(entry: FsEntry, hash: Hash): void {
    if (entry.size === 0) return;
    this.#block ??= Buffer.allocUnsafe(blockSize);
    const fd = openEntry(entry);
    try {
      for (;;) {
        this.#giveWay();
        const n = readSync(fd, this.#block, 0, blockSize, null);
        if (n === 0) return;
        hash.update(this.#block.subarray(0, n));
      }
    } finally {
      closeFd(fd);
    }
  }
}

/** The kinds of files that a checksum tells apart, by their letters in tar. */
const typeFlags: Partial<Record<FsEntry['type'], string>> = { file: '0', symlink: '2', dir: '5', fifo: '6' };

/** The byte FF as a name has it. */
const lastByte = '\udcff';

interface Matched {
  isIn: boolean;
  include?: MatchState;
  exclude?: MatchState;
}

/** The include and exclude patterns of a selection. */
class Filter {
  readonly #includes: IgnoreMatcher | undefined;
  readonly #excludes: IgnoreMatcher | undefined;

  constructor(includes: readonly string[] = [], excludes: readonly string[] = []) {
    if (includes.length > 0) this.#includes = new IgnoreMatcher(includes);
    if (excludes.length > 0) this.#excludes = new IgnoreMatcher(excludes);
  }

  /** Matches a path relative to the selected folder. */
  match(path: string, parent: Matched | undefined): Matched {
    const include = this.#includes?.match(path, parent?.include);
    if (include?.matched === false) return { isIn: false, include };
    const exclude = this.#excludes?.match(path, parent?.exclude);
    return { isIn: exclude?.matched !== true, include, exclude };
  }
}

/** A path as BuildKit's tree of records has it. */
function keyOf(path: string): Buffer {
  return bytesOf(path.replaceAll('/', '\0'));
}

function baseOf(path: string): string {
  return path === '/' ? '/' : baseName(path);
}

function digest(hash: Hash): Digest {
  return `sha256:${hash.digest('hex')}`;
}
