/**
 * Writes the entries of a layer's tar into a folder. In `overlay` form the folder is one layer in overlayfs's format;
 * in `tree` form it holds the whole tree already, and whiteouts remove files. Layer format:
 * https://github.com/opencontainers/image-spec/blob/main/layer.md
 */
import { closeSync, constants, fchmodSync, ftruncateSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoCode, fail } from '../errors/index.ts';
import { isOwnXattr, isWhiteout, lstatHost } from '../fs/index.ts';
import {
  chmodSync,
  fchownSync,
  lchownSync,
  linkSync,
  lsetxattr,
  lutimesNs,
  makedev,
  mkdirSync,
  mknod,
  mknodInTree,
  Nursery,
  overlayXattr,
  readdirSync,
  rmSync,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  symlinkSync,
  unlinkSync,
} from '../linux/index.ts';
import type { TarEntry, TarHandler } from '../tar/index.ts';
import { copyUpFile } from './copy-up.ts';
import { LayerPaths, type Lower, wantsLower } from './layer-paths.ts';

const opaqueName = '.wh..wh..opq';
const whiteoutPrefix = '.wh.';
const newFile = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;

interface ApplyOptions {
  form: 'overlay' | 'tree';
  /**
   * The tree below (overlay form), for folders that the archive leaves out and for links to files that it does not
   * have. `unknown`: for such an archive the unpacking fails with `conflict`.
   */
  lower?: Lower;
  /** False: devices are left out. */
  devices?: boolean;
}

/** Receives a TarParser's events; call `finish` at the end. Throws `corrupt` for entries that no sound layer has. */
export class LayerApplier implements TarHandler {
  readonly #files: Nursery;
  #paths: LayerPaths;
  #tree: boolean;
  #lower: Lower;
  readonly #devices: boolean;
  /** The paths that this archive made (tree form): a whiteout removes only files that were there before. */
  #made = new Set<string>();
  #dirTimes = new Map<string, bigint>();
  #fd = -1;
  #file: TarEntry | undefined;
  #host = '';
  #last: string | undefined;
  #at = 0;
  #region = 0;

  /** Whether the archive describes the root folder itself. */
  hasRoot = false;
  /** The number of entries written. */
  entries = 0;
  /** The bytes of file contents written. */
  bytes = 0;

  constructor(dir: string, options: ApplyOptions) {
    this.#files = new Nursery(dirname(dir));
    this.#tree = options.form === 'tree';
    this.#lower = options.lower;
    this.#devices = options.devices ?? true;
    this.#paths = new LayerPaths(dir, options.lower, {
      made: (host, path, mtimeNs) => {
        this.#dirTimes.set(host, mtimeNs);
        if (this.#tree) this.#made.add(path);
      },
    });
  }

  entry(entry: TarEntry): void {
    this.entries++;
    this.#file = undefined;
    this.#last = undefined;
    if (entry.path === '') {
      this.hasRoot = true;
      this.#dirMeta(this.#paths.root, entry);
      return;
    }
    const slash = entry.path.lastIndexOf('/');
    const name = entry.path.slice(slash + 1);
    if (entry.path.startsWith('../') || entry.path.includes('/../') || name === '..') {
      throw fail(
        'corrupt',
        'store',
        `the layer holds a path that climbs out of it: ${JSON.stringify(entry.path)}`,
      );
    }
    const parent = this.#paths.folder(slash < 0 ? '' : entry.path.slice(0, slash));
    if (name.startsWith(whiteoutPrefix)) {
      if (name === opaqueName) this.#opaque(parent.host, parent.path);
      else if (name.startsWith('.wh..wh.'))
        return; // aufs's own files
      else this.#whiteout(parent, name.slice(whiteoutPrefix.length));
      return;
    }
    const host = `${parent.host}/${name}`;
    if (this.#tree) this.#made.add(`${parent.path}/${name}`);
    switch (entry.type) {
      case 'file':
        this.#open(host, entry);
        return;
      case 'dir':
        this.#dir(host, entry);
        return;
      case 'hardlink':
        this.#link(host, entry);
        return;
      case 'symlink':
        this.#replacing(host, () => symlinkSync(entry.link ?? '', host));
        lchownSync(host, entry.uid, entry.gid);
        break;
      default: {
        if (entry.type !== 'fifo' && !this.#devices) return;
        const kind = entry.type === 'char' ? S_IFCHR : entry.type === 'block' ? S_IFBLK : S_IFIFO;
        const dev = entry.type === 'fifo' ? 0 : makedev(entry.devmajor, entry.devminor);
        this.#replacing(host, () => mknodInTree(host, kind | 0o600, dev));
        lchownSync(host, entry.uid, entry.gid);
        chmodSync(host, entry.mode);
      }
    }
    lutimesNs(host, entry.mtimeNs, entry.mtimeNs);
  }

  data(chunk: Uint8Array): void {
    const file = this.#file;
    if (file === undefined) return;
    this.bytes += chunk.length;
    let from = 0;
    while (from < chunk.length) {
      let n = chunk.length - from;
      const region = file.sparse?.[this.#region];
      if (region !== undefined) {
        if (this.#at < region.offset) this.#at = region.offset;
        n = Math.min(n, region.offset + region.length - this.#at);
      }
      const written = writeSync(this.#fd, chunk, from, n, this.#at);
      from += written;
      this.#at += written;
      if (region !== undefined && this.#at === region.offset + region.length) this.#region++;
    }
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    if (file.sparse !== undefined) ftruncateSync(this.#fd, file.size);
    // chown comes first, since it clears setuid bits and capabilities.
    fchownSync(this.#fd, file.uid, file.gid);
    fchmodSync(this.#fd, file.mode);
    closeSync(this.#fd);
    this.#fd = -1;
    setXattrs(this.#host, file);
    lutimesNs(this.#host, file.mtimeNs, file.mtimeNs);
  }

  /** The path on the host of the regular file that the last entry became; undefined when it became none. */
  get lastFile(): string | undefined {
    return this.#last;
  }

  /** Sets the folders' times, when nothing more is written into them. */
  finish(): void {
    for (const [host, mtimeNs] of this.#dirTimes) lutimesNs(host, mtimeNs, mtimeNs);
    this.#dirTimes.clear();
  }

  /** Closes what is open, an unfinished file too. Call it in any case. */
  abort(): void {
    this.#files.close();
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  #open(host: string, entry: TarEntry): void {
    this.#replacing(host, () => {
      this.#fd = this.#files.create(host, newFile, 0o600);
    });
    this.#file = entry;
    this.#host = host;
    this.#last = host;
    this.#at = 0;
    this.#region = 0;
  }

  #dir(host: string, entry: TarEntry): void {
    let opaque = false;
    const st = lstatHost(host);
    if (st !== undefined && !st.isDirectory()) {
      // A folder in place of a whiteout must not show the files that the whiteout hid.
      opaque = !this.#tree && isWhiteout(st);
      unlinkSync(host);
    }
    if (st === undefined || !st.isDirectory()) mkdirSync(host, 0o700);
    if (opaque) lsetxattr(host, overlayXattr('opaque'), Buffer.from('y'));
    this.#dirMeta(host, entry);
    this.#paths.known(host);
  }

  #dirMeta(host: string, entry: TarEntry): void {
    if (entry.type !== 'dir') throw fail('corrupt', 'store', 'the layer’s root is not a folder');
    lchownSync(host, entry.uid, entry.gid);
    chmodSync(host, entry.mode);
    setXattrs(host, entry);
    this.#dirTimes.set(host, entry.mtimeNs);
  }

  #link(host: string, entry: TarEntry): void {
    const target = this.#linkTarget(entry);
    if (target === host) return;
    this.#replacing(host, () => linkSync(target, host));
  }

  /** The host path of a hard link's target; a target that this layer lacks is copied up from below. */
  #linkTarget(entry: TarEntry): string {
    const link = entry.link ?? '';
    const bad = (why: string) =>
      fail('corrupt', 'store', `the layer links ${entry.path} to ${JSON.stringify(link)}, ${why}`);
    if (`/${link}/`.includes('/../')) throw bad('which climbs out of it');
    const slash = link.lastIndexOf('/');
    const parent = this.#paths.folder(slash < 0 ? '' : link.slice(0, slash));
    const host = `${parent.host}/${link.slice(slash + 1)}`;
    const st = lstatHost(host);
    if (st !== undefined && !(isWhiteout(st) && !this.#tree)) {
      if (st.isDirectory()) throw bad('which is a folder');
      return host;
    }
    if (st === undefined && this.#lower === 'unknown')
      throw wantsLower(`${parent.path}/${link.slice(slash + 1)}`);
    const lower = this.#lower === 'unknown' ? undefined : this.#lower;
    const below = st === undefined ? lower?.lstat(`${parent.path}/${link.slice(slash + 1)}`) : undefined;
    if (below === undefined) throw bad('which does not exist');
    if (below.type === 'dir') throw bad('which is a folder');
    copyUpFile(below, host);
    return host;
  }

  #whiteout(parent: { host: string; path: string }, name: string): void {
    if (name === '' || name === '.' || name === '..')
      throw fail('corrupt', 'store', 'the layer holds a nameless whiteout');
    const host = `${parent.host}/${name}`;
    const st = lstatHost(host);
    if (this.#tree) {
      if (st === undefined) return;
      if (!this.#made.has(`${parent.path}/${name}`)) this.#remove(host);
      else if (st.isDirectory()) this.#clear(host, `${parent.path}/${name}`);
      return;
    }
    if (st === undefined) mknod(host, S_IFCHR, 0);
    else if (st.isDirectory()) lsetxattr(host, overlayXattr('opaque'), Buffer.from('y'));
  }

  #opaque(host: string, path: string): void {
    if (this.#tree) this.#clear(host, path);
    else lsetxattr(host, overlayXattr('opaque'), Buffer.from('y'));
  }

  /** Removes everything from a folder (tree form) that this archive did not make. */
  #clear(host: string, path: string): void {
    for (const name of readdirSync(host)) {
      const child = `${path}/${name}`;
      const childHost = `${host}/${name}`;
      if (!this.#made.has(child)) this.#remove(childHost);
      else if (lstatHost(childHost)?.isDirectory()) this.#clear(childHost, child);
    }
  }

  /** Makes something new at `host`, in place of anything there. */
  #replacing(host: string, make: () => void): void {
    try {
      make();
    } catch (err) {
      if (errnoCode(err) !== 'EEXIST') throw err;
      this.#remove(host);
      make();
    }
  }

  #remove(host: string): void {
    const st = lstatHost(host);
    if (st === undefined) return;
    if (!st.isDirectory()) {
      unlinkSync(host);
      return;
    }
    rmSync(host, { recursive: true });
    this.#paths.forget(host);
    for (const dir of this.#dirTimes.keys()) {
      if (dir === host || dir.startsWith(`${host}/`)) this.#dirTimes.delete(dir);
    }
  }
}

/** Sets the attributes that belong to a file. Overlayfs's own and a host's labels are never taken from an archive. */
function setXattrs(host: string, entry: TarEntry): void {
  for (const [name, value] of entry.xattrs) {
    if (!isOwnXattr(name)) continue;
    try {
      lsetxattr(host, name, value);
    } catch (err) {
      // A filesystem without user attributes still gets the file.
      if (errnoCode(err) !== 'EOPNOTSUPP' && errnoCode(err) !== 'ENOTSUP') throw err;
    }
  }
}
