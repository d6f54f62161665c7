/**
 * A layer folder that is written as overlayfs would write it, without a mount. Folders of lower layers are copied up
 * when something below them changes, removals of lower files leave whiteouts, and a new folder in the place of a lower
 * one is opaque. Paths must have no symlinks in them: `resolve` them first.
 */
import { dirname } from 'node:path';
import {
  chmodSync,
  lchownSync,
  linkSync,
  lsetxattr,
  lutimesNs,
  mkdirSync,
  mknod,
  Nursery,
  overlayXattr,
  rmSync,
  S_IFCHR,
  unlinkSync,
} from '../linux/index.ts';
import { type FoundName, findIn, namesIn } from './layers-view.ts';
import { addLinked, readLinked } from './linked-files.ts';
import { type Attributes, finishPath } from './make.ts';
import { baseName, dirName, joinPath, splitPath } from './paths.ts';
import { readHost } from './real.ts';
import { walkLinks } from './resolve.ts';
import { entryOf, hostXattrs, isWhiteout, lstatHost } from './stat.ts';
import type { FsEntry } from './view.ts';

/** A folder of the merged tree. */
export interface Dir {
  readonly path: string;
  /** The folder's path in the layer, whether it is there yet or not. */
  readonly host: string;
  /** Whether new files in it get its group instead of ours. */
  setgid: boolean;
}

interface Node extends Dir {
  parent: Node | undefined;
  inUpper: boolean;
  /** The folders of lower layers that show through. */
  lowers: string[];
  /** The names made in a new folder that has nothing below it, so that no look-up needs the disk. */
  made?: Set<string>;
  /** All names in `lowers`, read after many look-ups. */
  lowerNames?: Set<string>;
  /** By name: the first of `lowers` that has it, or their number when none has. Kept where there are many. */
  firstLower: Map<string, number>;
  lookups: number;
  children: Map<string, Node>;
}

/** The number of look-ups in lower folders after which all their names are read. */
const manyLookups = 16;

/** The number of lower folders from which on it pays to remember which of them has a name. */
const manyLowers = 5;

/** A layer that is being written, seen together with the layers below it. */
export class LayerTarget {
  /** The number of files, folders and links written. */
  entries = 0;
  /** The number of bytes of file contents written. */
  bytes = 0;
  readonly root: Dir;
  /** Makes the layer's files. */
  readonly files: Nursery;
  readonly #root: Node;
  /** The inodes of files that were linked into the layer, and of those that it and the layers below had linked before. */
  readonly #linked = new Set<bigint>();
  #linkedBefore: Set<bigint> | undefined;

  /** Opens a layer: `dirs[0]` is written, the rest are its lower layers, topmost first. */
  constructor(dirs: readonly string[]) {
    const [host, ...lowers] = dirs;
    if (host === undefined) throw new Error('a layer target needs a folder');
    this.files = new Nursery(dirname(host));
    const st = lstatHost(host);
    this.#root = {
      path: '/',
      host,
      setgid: st === undefined || (st.mode & 0o2000) !== 0,
      parent: undefined,
      inUpper: true,
      lowers,
      lookups: 0,
      firstLower: new Map(),
      children: new Map(),
    };
    this.root = this.#root;
  }

  /** Ends the writing. */
  close(): void {
    this.files.close();
    addLinked(this.#root.host, this.#linked);
  }

  /**
   * Links a client's file into the layer, at a host path that `place` gave. Returns false when the tree has that very
   * file already, at another path. Throws the errors of link(2).
   */
  link(file: Pick<FsEntry, 'hostPath' | 'ino'>, host: string): boolean {
    if (this.#linkedBefore === undefined) {
      this.#linkedBefore = new Set();
      for (const dir of [this.#root.host, ...this.#root.lowers])
        for (const inode of readLinked(dir)) this.#linkedBefore.add(inode);
    }
    if (this.#linked.has(file.ino) || this.#linkedBefore.has(file.ino)) return false;
    // The folder is ours alone, so its path leads to the file.
    linkSync(file.hostPath, host);
    this.#linked.add(file.ino);
    return true;
  }

  /** The path after following links; see `resolvePath`. */
  resolve(path: string, followLast: boolean): string {
    return walkLinks((at) => this.lstat(at)?.link, path, followLast);
  }

  lstat(path: string): FsEntry | undefined {
    if (path === '/') {
      const st = lstatHost(this.#root.host);
      return st && entryOf('/', '', this.#root.host, st);
    }
    const dir = this.dir(dirName(path));
    return dir && this.lookup(dir, baseName(path));
  }

  /** The folder at a path; undefined when there is none. */
  dir(path: string): Dir | undefined {
    let node = this.#root;
    for (const name of splitPath(path)) {
      const next = this.#child(node, name);
      if (next === undefined) return undefined;
      node = next;
    }
    return node;
  }

  /** The entry of a name in a folder; undefined when there is none. */
  lookup(dir: Dir, name: string): FsEntry | undefined {
    return this.#find(dir as Node, name)?.entry;
  }

  /** The entries of a folder, in byte order. */
  readdir(dir: Dir): FsEntry[] {
    const node = dir as Node;
    const names = namesIn(node.inUpper ? [node.host, ...node.lowers] : node.lowers, node.path);
    return names.map((name) => this.lookup(dir, name)).filter((entry) => entry !== undefined);
  }

  /** The folder of a name in a folder; undefined when there is none. */
  child(dir: Dir, name: string): Dir | undefined {
    return this.#child(dir as Node, name);
  }

  /** Copies a folder up if necessary; returns its path in the layer. */
  upper(dir: Dir): string {
    const node = dir as Node;
    if (node.inUpper) return node.host;
    const lower = node.lowers[0]!;
    const entry = entryOf(node.path, baseName(node.path), lower, lstatHost(lower)!);
    const above = this.upper(node.parent!);
    const before = lstatHost(above)!.mtimeNs;
    mkdirSync(node.host);
    lchownSync(node.host, entry.uid, entry.gid);
    chmodSync(node.host, entry.mode);
    finishPath(node.host, { ...entry, xattrs: hostXattrs(entry) });
    node.inUpper = true;
    // In the merged tree the folder above has not changed, so its times must not.
    lutimesNs(above, before, before);
    return node.host;
  }

  /**
   * Makes room for a new non-folder and returns its path on the host. A folder of that name must have been removed
   * before.
   */
  place(dir: Dir, name: string): string {
    const node = dir as Node;
    const host = `${this.upper(node)}/${name}`;
    this.#clear(node, name, host);
    this.entries++;
    return host;
  }

  /** Makes a folder where the merged tree has nothing. Its `mtimeNs` is lost when something is made in it. */
  mkdir(dir: Dir, name: string, attributes: Attributes): Dir {
    const node = dir as Node;
    const host = `${this.upper(node)}/${name}`;
    const path = joinPath(node.path, name);
    const hidden = this.#findLower(node, name, path)?.entry.type === 'dir';
    this.#clear(node, name, host);
    mkdirSync(host);
    if (hidden) lsetxattr(host, overlayXattr('opaque'), Buffer.from('y'));
    lchownSync(host, attributes.uid, attributes.gid);
    chmodSync(host, attributes.mode);
    finishPath(host, attributes);
    this.entries++;
    const made: Node = {
      path,
      host,
      setgid: (attributes.mode & 0o2000) !== 0,
      parent: node,
      inUpper: true,
      lowers: [],
      made: new Set(),
      lookups: 0,
      firstLower: new Map(),
      children: new Map(),
    };
    node.children.set(name, made);
    return made;
  }

  /** Sets the attributes of an existing folder, after copying it up. */
  setDir(dir: Dir, attributes: Attributes): void {
    const host = this.upper(dir);
    lchownSync(host, attributes.uid, attributes.gid);
    chmodSync(host, attributes.mode);
    dir.setgid = (attributes.mode & 0o2000) !== 0;
    finishPath(host, attributes);
  }

  /** Sets only the mode of an existing folder. */
  setDirMode(dir: Dir, mode: number): void {
    chmodSync(this.upper(dir), mode);
    dir.setgid = (mode & 0o2000) !== 0;
  }

  /** Sets the time of a folder that is in the layer; does nothing to others. */
  setDirTime(dir: Dir, mtimeNs: bigint): void {
    if ((dir as Node).inUpper) lutimesNs(dir.host, mtimeNs, mtimeNs);
  }

  /** Removes a file or a whole folder. A missing one is no error. */
  remove(dir: Dir, name: string): void {
    const node = dir as Node;
    if (this.#find(node, name) === undefined) return;
    node.children.delete(name);
    node.made?.delete(name);
    const host = `${node.host}/${name}`;
    if (node.inUpper) rmSync(host, { recursive: true, force: true });
    if (this.#findLower(node, name, joinPath(node.path, name)) === undefined) return;
    mknod(`${this.upper(node)}/${name}`, S_IFCHR, 0);
  }

  #child(node: Node, name: string): Node | undefined {
    const known = node.children.get(name);
    if (known !== undefined) return known;
    const found = this.#find(node, name);
    if (found?.entry.type !== 'dir') return undefined;
    const host = `${node.host}/${name}`;
    const inUpper = found.dirs[0] === host;
    const child: Node = {
      path: found.entry.path,
      host,
      setgid: (found.entry.mode & 0o2000) !== 0,
      parent: node,
      inUpper,
      lowers: inUpper ? found.dirs.slice(1) : found.dirs,
      lookups: 0,
      firstLower: new Map(),
      children: new Map(),
    };
    node.children.set(name, child);
    return child;
  }

  #find(node: Node, name: string): FoundName | undefined {
    const path = joinPath(node.path, name);
    if (node.made !== undefined && !node.made.has(name) && !node.children.has(name)) return undefined;
    const dirs = this.#lowersWith(node, name);
    return findIn(node.inUpper ? [node.host, ...dirs] : dirs, name, path);
  }

  #findLower(node: Node, name: string, path: string): FoundName | undefined {
    return findIn(this.#lowersWith(node, name), name, path);
  }

  /** The lower folders from the first one on that may have a name. */
  #lowersWith(node: Node, name: string): readonly string[] {
    const { lowers, firstLower } = node;
    if (lowers.length === 0) return lowers;
    if (node.lowerNames === undefined && ++node.lookups >= manyLookups) {
      node.lowerNames = new Set(lowers.flatMap((dir) => readHost(dir, node.path)));
    }
    if (node.lowerNames !== undefined && !node.lowerNames.has(name)) return [];
    if (lowers.length < manyLowers) return lowers;
    let first = firstLower.get(name);
    if (first === undefined) {
      const at = lowers.findIndex((dir) => lstatHost(`${dir}/${name}`) !== undefined);
      first = at < 0 ? lowers.length : at;
      firstLower.set(name, first);
    }
    return lowers.slice(first);
  }

  /** Removes the layer's own file or whiteout of a name. */
  #clear(node: Node, name: string, host: string): void {
    if (node.made !== undefined) {
      const there = node.made.has(name);
      node.made.add(name);
      if (!there) return;
    }
    const st = lstatHost(host);
    if (st === undefined) return;
    if (st.isDirectory() && !isWhiteout(st)) throw new Error(`${host} is a folder`);
    unlinkSync(host);
  }
}
