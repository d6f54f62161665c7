/** Writes the entries of a tar into an empty folder in which nobody else writes. It runs on a worker thread. */
import { closeSync, ftruncateSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoCode, fail } from '../errors/index.ts';
import {
  chmodSync,
  linkSync,
  lsetxattr,
  lstat,
  lutimesNs,
  makedev,
  mkdirSync,
  mknod,
  mknodInTree,
  Nursery,
  rmSync,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  symlinkSync,
} from '../linux/index.ts';
import type { TarEntry, TarHandler } from '../tar/index.ts';

/**
 * Makes the files and folders in an archive, but never outside of the folder: `..`, and paths or hard links that lead
 * through a symlink, are refused with `invalid` (hop `context`). Owners are not kept, because a build context's files
 * are root's. `finish` is called after the archive's end; `abort` closes the open files, after `finish` too.
 */
export class FolderUnpacker implements TarHandler {
  entries = 0;
  bytes = 0;
  readonly #root: string;
  readonly #files: Nursery;
  readonly #goOn: () => void;
  /** The paths that are known to be real folders. */
  readonly #folders = new Set<string>(['']);
  /** The modes and times of folders. They are set when nothing more is written into the folders. */
  readonly #later = new Map<string, { mode: number; mtimeNs: bigint }>();
  #fd: number | undefined;
  #path = '';
  #entry: TarEntry | undefined;
  #regions: { offset: number; length: number }[] = [];

  /**
   * `goOn` is called for each folder and entry, for a few bytes of an archive may ask for thousands of them. It may
   * throw.
   */
  constructor(root: string, goOn: () => void = () => {}) {
    this.#root = root;
    this.#files = new Nursery(dirname(root));
    this.#goOn = goOn;
  }

  entry(entry: TarEntry): void {
    const { path } = entry;
    this.#goOn();
    this.#check(path);
    this.#entry = entry;
    this.entries++;
    if (path === '' || entry.type === 'dir') {
      this.#makeFolder(path);
      this.#later.set(path, { mode: entry.mode, mtimeNs: entry.mtimeNs });
      return;
    }
    this.#makeFolder(parentOf(path));
    const at = join(this.#root, path);
    this.#path = at;
    this.#clear(path, at);
    switch (entry.type) {
      case 'file':
        this.#fd = this.#files.create(at, 'wx', 0o600);
        this.#regions = (entry.sparse ?? [{ offset: 0, length: entry.size }]).map((region) => ({
          ...region,
        }));
        return;
      case 'symlink':
        symlinkSync(entry.link ?? '', at);
        break;
      case 'hardlink': {
        const target = entry.link ?? '';
        this.#check(target);
        this.#realFolder(parentOf(target), path);
        try {
          linkSync(join(this.#root, target), at);
        } catch (err) {
          if (errnoCode(err) !== 'ENOENT') throw err;
          throw bad(`${quote(path)} is a hard link to ${quote(target)}, which is not there`);
        }
        return;
      }
      case 'fifo':
        mknod(at, S_IFIFO | 0o600, 0);
        break;
      default:
        mknodInTree(
          at,
          (entry.type === 'char' ? S_IFCHR : S_IFBLK) | 0o600,
          makedev(entry.devmajor, entry.devminor),
        );
    }
    this.#attributes(at, entry);
  }

  data(chunk: Uint8Array): void {
    let from = 0;
    while (from < chunk.length && this.#fd !== undefined) {
      const region = this.#regions[0];
      if (region === undefined) return;
      const n = Math.min(region.length, chunk.length - from);
      let done = 0;
      while (done < n) done += writeSync(this.#fd, chunk, from + done, n - done, region.offset + done);
      from += n;
      this.bytes += n;
      region.offset += n;
      region.length -= n;
      if (region.length === 0) this.#regions.shift();
    }
  }

  end(): void {
    const entry = this.#entry;
    if (this.#fd === undefined || entry === undefined) return;
    if (entry.sparse !== undefined) ftruncateSync(this.#fd, entry.size);
    this.#close();
    this.#attributes(this.#path, entry);
  }

  /** Sets the modes and times of folders, the deepest first. */
  finish(): void {
    const paths = [...this.#later.keys()].sort((a, b) => b.length - a.length);
    for (const path of paths) {
      const { mode, mtimeNs } = this.#later.get(path) as { mode: number; mtimeNs: bigint };
      const at = join(this.#root, path);
      // The root folder itself must stay readable to us only.
      if (path !== '') chmodSync(at, mode);
      lutimesNs(at, mtimeNs, mtimeNs);
    }
  }

  abort(): void {
    this.#close();
    this.#files.close();
  }

  #close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #check(path: string): void {
    if (path.split('/').includes('..')) throw bad(`${quote(path)} leads out of the build context`);
    if (path.includes('\0')) throw bad(`${quote(path)} has a NUL in its name`);
  }

  #makeFolder(path: string): void {
    this.#goOn();
    if (this.#folders.has(path)) return;
    this.#makeFolder(parentOf(path));
    const at = join(this.#root, path);
    const kind = kindOf(at);
    if (kind === 'symlink') throw bad(`${quote(path)} is a symlink and a folder at once`);
    if (kind === 'other') {
      rmSync(at);
      mkdirSync(at, 0o755);
    } else if (kind === undefined) mkdirSync(at, 0o755);
    this.#folders.add(path);
  }

  /** Throws when a part of a path is a symlink. */
  #realFolder(path: string, user: string): void {
    if (this.#folders.has(path)) return;
    this.#realFolder(parentOf(path), user);
    if (kindOf(join(this.#root, path)) !== 'dir')
      throw bad(`${quote(user)} leads through ${quote(path)}, which is no folder`);
    this.#folders.add(path);
  }

  /** Removes an earlier entry of the same name, whose place a later one takes. */
  #clear(path: string, at: string): void {
    const kind = kindOf(at);
    if (kind === undefined) return;
    if (kind === 'dir') {
      for (const known of [...this.#folders]) {
        if (known !== path && !known.startsWith(`${path}/`)) continue;
        this.#folders.delete(known);
        this.#later.delete(known);
      }
    }
    rmSync(at, { recursive: true });
  }

  #attributes(at: string, entry: TarEntry): void {
    for (const [name, value] of entry.xattrs) {
      if (!name.startsWith('user.') && name !== 'security.capability') continue;
      try {
        lsetxattr(at, name, value);
      } catch (err) {
        if (errnoCode(err) !== 'EOPNOTSUPP' && errnoCode(err) !== 'EPERM') throw err;
      }
    }
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
