/** Makes a folder of the entries of a tar, in which nobody else writes. It runs on a worker thread. */
import { closeSync, fchmodSync, ftruncateSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoCode, fail } from '../errors/index.ts';
import { hashSmall } from '../fs/index.ts';
import {
  chmodSync,
  futimesNs,
  linkSync,
  lstat,
  lutimesNs,
  makedev,
  mkdirSync,
  mknod,
  mknodInTree,
  Nursery,
  readdirSync,
  rmSync,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  symlinkSync,
  writeAll,
} from '../linux/index.ts';
import type { TarEntry, TarHandler } from '../tar/index.ts';
import { ComingFile } from './coming-file.ts';
import { filePrint, nodePrint, setXattrs } from './entry-print.ts';
import {
  type FolderState,
  forgetFolderState,
  keepFolderState,
  readFolderState,
  unlike,
} from './folder-state.ts';

/** A file of fewer bytes is taken into memory and compared by its digest; a larger one is compared as it comes. */
const small = 256 << 10;
/** Of more files than this nothing is kept. */
const mostEntries = 300_000;
const empty = hashSmall(new Uint8Array(0));

/**
 * Makes the files and folders in an archive, but never outside of the folder: `..`, and paths or hard links that lead
 * through a symlink, are refused with `invalid` (hop `context`). Owners are not kept, because a build context's files
 * are root's. `finish` is called after the archive's end; `abort` closes the open files, after `finish` too.
 *
 * A folder that an earlier archive was unpacked into becomes like the new archive: what is the same in both is not
 * touched, files that differ are replaced by new ones and never written into, and what is not in the archive is removed.
 * With `keeps`, what is known of the folder is kept beside it for the next time.
 */
export class FolderUnpacker implements TarHandler {
  entries = 0;
  bytes = 0;
  readonly #root: string;
  #keeps: boolean;
  readonly #files: Nursery;
  readonly #goOn: () => void;
  /** What is there of the earlier archive and was not touched yet. */
  readonly #known: Map<string, string>;
  readonly #stamp: string | undefined;
  /** What is there of this archive. */
  readonly #prints = new Map<string, string>();
  /** The digests of files by path, as the checksums of trees want them. */
  readonly #contents = new Map<string, string>();
  /** The paths that are known to be real folders. */
  readonly #folders = new Set<string>(['']);
  /** The modes and times of folders. They are set when nothing more is written into the folders. */
  readonly #later = new Map<string, { mode: number; mtimeNs: bigint }>();
  #isChanged = false;
  #entry: TarEntry | undefined;
  /** The bytes of a small file. */
  #block: Buffer | undefined;
  #have = 0;
  #coming: ComingFile | undefined;
  #sparse: { fd: number; regions: { offset: number; length: number }[] } | undefined;

  /**
   * `goOn` is called for each folder and entry, for a few bytes of an archive may ask for thousands of them. It may
   * throw.
   */
  constructor(root: string, goOn: () => void = () => {}, keeps = false) {
    this.#root = root;
    this.#keeps = keeps;
    this.#files = new Nursery(dirname(root));
    this.#goOn = goOn;
    const before: FolderState | undefined = keeps ? readFolderState(root) : undefined;
    this.#known = before?.prints ?? new Map();
    this.#stamp = before?.stamp;
    if (keeps && before === undefined) {
      this.#change();
      for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true, force: true });
    }
  }

  entry(entry: TarEntry): void {
    const { path } = entry;
    this.#goOn();
    this.#check(path);
    this.#entry = entry;
    this.entries++;
    if (path === '' || entry.type === 'dir') {
      this.#makeFolder(path);
      const { mode, mtimeNs } = entry;
      this.#later.set(path, { mode, mtimeNs });
      if (path === '') return;
      this.#take(path, `d ${mode} ${mtimeNs}`);
      return;
    }
    this.#makeFolder(parentOf(path));
    switch (entry.type) {
      case 'file':
        this.#beginFile(entry);
        return;
      case 'hardlink':
        this.#link(entry);
        return;
      default: {
        const print = nodePrint(entry);
        if (this.#take(path, print)) return;
        const at = this.#cleared(path);
        this.#makeNode(at, entry);
        this.#attributes(at, entry);
      }
    }
  }

  data(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    if (this.#sparse !== undefined) this.#sparseData(chunk);
    else if (this.#coming !== undefined) this.#coming.push(chunk);
    else if (this.#block !== undefined) {
      this.#block.set(chunk, this.#have);
      this.#have += chunk.length;
    }
  }

  end(): void {
    const entry = this.#entry;
    this.#entry = undefined;
    if (entry?.type !== 'file') return;
    if (this.#sparse !== undefined) this.#endSparse(entry);
    else if (this.#coming !== undefined) this.#endComing(entry, this.#coming);
    else this.#endSmall(entry);
  }

  /**
   * Removes what the archive does not have, and sets the modes and times of folders, the deepest first. Returns what
   * stands for the folder's contents; undefined when nothing is kept of them.
   */
  finish(): string | undefined {
    this.#files.close();
    const gone = [...this.#known.keys()].filter((path) => !this.#prints.has(path));
    for (const path of gone.sort((a, b) => b.length - a.length)) {
      this.#goOn();
      if (this.#folders.has(path)) {
        // A folder that the archive has files in, and says nothing of itself.
        if (this.#known.get(path) === 'd') continue;
        this.#change();
        chmodSync(join(this.#root, path), 0o755);
        continue;
      }
      this.#change();
      rmSync(join(this.#root, path), { recursive: true, force: true });
    }
    if (!this.#isChanged) return this.#stamp;
    const paths = [...this.#later.keys()].sort((a, b) => b.length - a.length);
    for (const path of paths) {
      const { mode, mtimeNs } = this.#later.get(path) as { mode: number; mtimeNs: bigint };
      const at = join(this.#root, path);
      // The root folder itself must stay readable to us only.
      if (path !== '') chmodSync(at, mode);
      lutimesNs(at, mtimeNs, mtimeNs);
    }
    if (!this.#keeps) return undefined;
    for (const path of this.#folders) if (path !== '' && !this.#prints.has(path)) this.#prints.set(path, 'd');
    const folders = [...this.#folders].filter((path) => path !== '');
    return keepFolderState(this.#root, this.#prints, folders, this.#contents);
  }

  abort(): void {
    this.#coming?.close();
    if (this.#sparse !== undefined) closeSync(this.#sparse.fd);
    this.#coming = undefined;
    this.#sparse = undefined;
    this.#files.close();
  }

  /** Called before anything is changed. */
  #change(): void {
    if (this.#isChanged) return;
    this.#isChanged = true;
    if (this.#keeps) forgetFolderState(this.#root);
  }

  /** Notes what is at a path. Returns whether it is there already. */
  #take(path: string, print: string): boolean {
    if (!this.#keeps) return false;
    if (this.#prints.size >= mostEntries) {
      this.#giveUp();
      return false;
    }
    this.#prints.delete(path);
    this.#prints.set(path, print);
    if (this.#known.get(path) === print) return true;
    this.#change();
    return false;
  }

  /** Keeps nothing of a folder of so many files: what is left of an earlier archive goes, and all is written. */
  #giveUp(): void {
    this.#change();
    this.#keeps = false;
    for (const path of this.#known.keys()) {
      if (this.#prints.has(path) || this.#folders.has(path)) continue;
      rmSync(join(this.#root, path), { recursive: true, force: true });
    }
    for (const all of [this.#known, this.#prints, this.#contents]) all.clear();
  }

  #check(path: string): void {
    if (path.split('/').includes('..')) throw bad(`${quote(path)} leads out of the build context`);
    if (path.includes('\0')) throw bad(`${quote(path)} has a NUL in its name`);
  }

  #makeFolder(path: string): void {
    this.#goOn();
    if (this.#folders.has(path)) return;
    this.#makeFolder(parentOf(path));
    this.#folders.add(path);
    if (this.#known.get(path)?.startsWith('d') === true) return;
    this.#change();
    const at = join(this.#root, path);
    const kind = kindOf(at);
    // What an earlier archive has left is not what this one says.
    const isOwn = !this.#keeps || this.#prints.has(path);
    if (kind === 'symlink' && isOwn) throw bad(`${quote(path)} is a symlink and a folder at once`);
    if (kind === 'dir') return;
    if (kind !== undefined) rmSync(at);
    this.#known.delete(path);
    this.#prints.delete(path);
    mkdirSync(at, 0o755);
  }

  /** Throws when a part of a path is no real folder of this archive. */
  #realFolder(path: string, user: string): void {
    if (this.#folders.has(path)) return;
    this.#realFolder(parentOf(path), user);
    throw bad(`${quote(user)} leads through ${quote(path)}, which is no folder`);
  }

  /** Removes what is at a path, whose place something else takes. Returns the path on this host. */
  #cleared(path: string): string {
    const at = join(this.#root, path);
    this.#contents.delete(`/${path}`);
    const kind = kindOf(at);
    this.#known.delete(path);
    if (kind === undefined) return at;
    if (kind === 'dir') {
      this.#later.delete(path);
      this.#folders.delete(path);
      const below = `${path}/`;
      for (const all of [this.#known, this.#prints, this.#later, this.#folders]) {
        for (const each of [...all.keys()]) if (each.startsWith(below)) all.delete(each);
      }
      for (const each of [...this.#contents.keys()]) {
        if (each.startsWith(below, 1)) this.#contents.delete(each);
      }
    }
    rmSync(at, { recursive: true });
    return at;
  }

  #beginFile(entry: TarEntry): void {
    const { path, size, sparse } = entry;
    if (sparse !== undefined) {
      this.#take(path, filePrint(entry, unlike()));
      const fd = this.#create(this.#cleared(path));
      this.#sparse = { fd, regions: sparse.map((region) => ({ ...region })) };
      return;
    }
    if (size < small) {
      this.#block ??= Buffer.allocUnsafe(small);
      this.#have = 0;
      return;
    }
    const known = this.#known.get(path);
    const isAlike = known?.startsWith(filePrint(entry, '')) === true;
    const old = isAlike ? join(this.#root, path) : undefined;
    this.#coming = new ComingFile(old, () => {
      this.#change();
      return this.#create(this.#cleared(path));
    });
  }

  #create(at: string): number {
    return this.#files.create(at, 'wx', 0o600);
  }

  #endSmall(entry: TarEntry): void {
    const { path } = entry;
    const bytes = (this.#block as Buffer).subarray(0, this.#have);
    const digest = bytes.length === 0 ? empty : hashSmall(bytes);
    const isThere = this.#take(path, filePrint(entry, digest));
    if (!isThere) {
      const at = this.#cleared(path);
      const fd = this.#create(at);
      try {
        writeAll(fd, bytes);
        this.#finishFile(fd, at, entry);
      } finally {
        closeSync(fd);
      }
    }
    this.#learn(entry, digest);
  }

  /** Notes the digest of a file. One with attributes has more to it than its bytes. */
  #learn({ path, xattrs }: TarEntry, digest: string): void {
    if (this.#keeps && xattrs.size === 0) this.#contents.set(`/${path}`, digest);
  }

  #endComing(entry: TarEntry, coming: ComingFile): void {
    const { path } = entry;
    const digest = coming.digest();
    this.#take(path, filePrint(entry, digest));
    if (coming.fd !== undefined) this.#finishFile(coming.fd, join(this.#root, path), entry);
    this.#coming = undefined;
    coming.close();
    this.#learn(entry, digest);
  }

  #sparseData(chunk: Uint8Array): void {
    const { fd, regions } = this.#sparse as { fd: number; regions: { offset: number; length: number }[] };
    let from = 0;
    while (from < chunk.length) {
      const region = regions[0];
      if (region === undefined) return;
      const n = Math.min(region.length, chunk.length - from);
      writeAll(fd, chunk.subarray(from, from + n), region.offset);
      from += n;
      region.offset += n;
      region.length -= n;
      if (region.length === 0) regions.shift();
    }
  }

  #endSparse(entry: TarEntry): void {
    const { fd } = this.#sparse as { fd: number };
    this.#sparse = undefined;
    try {
      ftruncateSync(fd, entry.size);
      this.#finishFile(fd, join(this.#root, entry.path), entry);
    } finally {
      closeSync(fd);
    }
  }

  #finishFile(fd: number, at: string, { mode, mtimeNs, xattrs }: TarEntry): void {
    setXattrs(at, xattrs);
    fchmodSync(fd, mode);
    futimesNs(fd, mtimeNs, mtimeNs);
  }

  #link(entry: TarEntry): void {
    const { path, link: target = '' } = entry;
    this.#check(target);
    this.#realFolder(parentOf(target), path);
    if (this.#folders.has(target)) throw bad(`${quote(path)} is a hard link to the folder ${quote(target)}`);
    if (path === target || (this.#keeps && !this.#prints.has(target))) {
      throw bad(`${quote(path)} is a hard link to ${quote(target)}, which is not there`);
    }
    // The same one as before is a link to the same file, if that was not replaced.
    const isThere = this.#take(path, `h ${target}`) && this.#known.has(target);
    if (isThere) return;
    this.#change();
    const at = this.#cleared(path);
    try {
      linkSync(join(this.#root, target), at);
    } catch (err) {
      if (errnoCode(err) === 'ENOENT')
        throw bad(`${quote(path)} is a hard link to ${quote(target)}, which is not there`);
      throw err;
    }
  }

  #makeNode(at: string, entry: TarEntry): void {
    if (entry.type === 'symlink') symlinkSync(entry.link ?? '', at);
    else if (entry.type === 'fifo') mknod(at, S_IFIFO | 0o600, 0);
    else {
      const kind = entry.type === 'char' ? S_IFCHR : S_IFBLK;
      mknodInTree(at, kind | 0o600, makedev(entry.devmajor, entry.devminor));
    }
  }

  #attributes(at: string, entry: TarEntry): void {
    setXattrs(at, entry.xattrs);
    if (entry.type !== 'symlink') chmodSync(at, entry.mode);
    lutimesNs(at, entry.mtimeNs, entry.mtimeNs);
  }
}

function kindOf(at: string): 'dir' | 'symlink' | 'other' | undefined {
  const stat = lstat(at);
  if (stat === undefined) return undefined;
  return stat.isDirectory() ? 'dir' : stat.isSymbolicLink() ? 'symlink' : 'other';
}

function parentOf(path: string): string {
  const parent = dirname(path);
  return parent === '.' ? '' : parent;
}

function quote(path: string): string {
  return JSON.stringify(path);
}

function bad(message: string) {
  return fail('invalid', 'context', `the uploaded archive cannot be unpacked: ${message}`);
}
