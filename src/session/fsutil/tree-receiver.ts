/**
 * Makes a folder like the one that a peer describes, and asks only for the bytes of files that differ. It runs on a
 * worker thread.
 */
import { closeSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoCode, fail } from '../../errors/index.ts';
import {
  checkReplaceable,
  createFile,
  type FileType,
  fileType,
  finishFile,
  finishPath,
  isOwnXattr,
  lstatHost,
  makeNode,
  partOf,
  writeParts,
} from '../../fs/index.ts';
import {
  chmodSync,
  compareNames,
  futimesNs,
  type HostStat,
  lchownSync,
  linkSync,
  lutimesNs,
  mkdirSync,
  mknod,
  Nursery,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from '../../linux/index.ts';
import { rdevOf, sameXattrs, setXattrs } from './attributes.ts';
import { permissionsOf, typeOf } from './mode.ts';
import type { Stat } from './packet.ts';
import type { ReceiveOptions } from './receive-options.ts';
import { checkPath, quote, refused } from './refused.ts';

interface Frame {
  path: string;
  host: string;
  /** The names in the folder on disk that were not sent yet. */
  unseen: Set<string>;
  /** The last name that was sent: names must come in order. */
  last: string | undefined;
  /** The folder's description; undefined for the top, which stays as it is. */
  stat: Stat | undefined;
  changed: boolean;
}

interface Pending {
  host: string;
  /** The path that it is written to: `host`, or a name beside it when a file gives way to it. */
  at: string;
  stat: Stat;
  fd: number | undefined;
}

/** The most files that a sender may send at one time; others send four. */
const maxOpen = 256;

/** A second, in ns. */
const second = 1_000_000_000n;

const defaultMaxEntries = 4_000_000;

/**
 * Receives a tree. `stat` is called for each file in the order of their paths, then `statsEnd`; `data` and `dataEnd` as
 * they come; and `finish` when it is `complete`. After a failure `abort` is called. Paths that lead out of the folder,
 * through a symlink, or that are out of order are refused with `invalid` (hop `session`). Nothing is ever written
 * through a symlink.
 */
export class TreeReceiver {
  entries = 0;
  bytes = 0;
  /** Whether a file with bytes has a time that is a whole second. */
  wholeSeconds = false;
  /** The paths of all folders that were sent. */
  readonly folders: string[] = [];
  readonly #options: ReceiveOptions;
  readonly #stack: Frame[];
  readonly #pending = new Map<number, Pending>();
  /** The paths of regular files, which hard links may lead to. */
  readonly #files = new Set<string>();
  readonly #links: { path: string; host: string; target: string; parent: Frame }[] = [];
  readonly #folders: Frame[] = [];
  readonly #dest: string;
  /** Makes the files; undefined in a folder beside which nothing of ours may be. */
  readonly #nursery: Nursery | undefined;
  readonly #uid = process.geteuid?.() ?? 0;
  readonly #gid = process.getegid?.() ?? 0;
  #open = 0;
  #ended = false;

  constructor(dest: string, options: ReceiveOptions) {
    this.#dest = dest;
    this.#options = options;
    this.#nursery = options.careful === true ? undefined : new Nursery(dirname(dest));
    if (options.mode === 'fresh') {
      for (const name of readdirSync(dest)) rmSync(`${dest}/${name}`, { recursive: true, force: true });
    }
    this.#stack = [
      {
        path: '',
        host: dest,
        unseen: new Set(readdirSync(dest)),
        last: undefined,
        stat: undefined,
        changed: false,
      },
    ];
  }

  /** How many files that were asked for have not come whole. */
  get waiting(): number {
    return this.#pending.size;
  }

  get complete(): boolean {
    return this.#ended && this.#pending.size === 0;
  }

  /**
   * Takes the description of file number `id`. Returns whether its bytes are wanted. `isKnown` says that the file on
   * disk was made of this very description, and that nobody has touched it since.
   */
  stat(id: number, stat: Stat, isKnown = false): boolean {
    if (this.#ended) throw refused('it listed a file after the end of its list');
    const { path } = stat;
    const type = typeOf(stat.mode);
    const parent = this.#enter(path);
    const name = path.slice(path.lastIndexOf('/') + 1);
    const host = `${parent.host}/${name}`;
    const isThere = parent.unseen.delete(name);
    this.entries++;
    if (this.entries > (this.#options.maxEntries ?? defaultMaxEntries)) {
      throw fail('exhausted', 'session', `the client lists more than ${this.entries - 1} files`, {
        hint: 'Exclude what the build does not need with .dockerignore.',
      });
    }
    if (type === undefined) throw refused(`${quote(path)} is of an unknown type (mode ${stat.mode})`);
    if (type === 'file') {
      this.#files.add(path);
      if (stat.size > 0 && stat.mtimeNs % second === 0n) this.wholeSeconds = true;
    }
    // A hard link may now lead to a new file under the old name.
    if (isKnown && isThere && type !== 'dir' && (type !== 'file' || stat.link === '')) return false;
    const there = isThere ? lstatHost(host) : undefined;
    const kind = there && fileType(there.mode);
    if (type === 'dir') {
      this.#folder(parent, host, stat, there);
      return false;
    }
    if (type === 'file') {
      if (stat.link !== '') {
        this.#link(parent, host, stat);
        return false;
      }
      if (kind === 'file' && this.#same(host, stat, there!)) return false;
      const stays = this.#options.careful === true && there !== undefined && kind !== 'dir';
      if (stays) {
        checkReplaceable(host, there.mode, type);
        parent.changed = true;
      } else this.#replace(parent, host, there, type);
      const file: Pending = { host, at: stays ? partOf(host) : host, stat, fd: undefined };
      if (stat.size === 0) {
        this.#close(file);
        return false;
      }
      this.#pending.set(id, file);
      return true;
    }
    if (kind === type && there!.mtimeNs === stat.mtimeNs && this.#options.mode === 'mirror') {
      if (type === 'symlink' ? readlinkSync(host) === stat.link : there!.rdev === rdevOf(stat)) return false;
    }
    if (type === 'socket') {
      // Nobody can use it; it is left out as the senders leave it out.
      this.#replace(parent, host, there, type);
      return false;
    }
    this.#replace(parent, host, there, type);
    if (type === 'symlink') {
      if (stat.link === '') throw refused(`${quote(path)} is a symlink without a target`);
      symlinkSync(stat.link, host);
    } else {
      try {
        makeNode(host, { type, rdev: rdevOf(stat), path }, this.#options.careful ? mknod : undefined);
      } catch (err) {
        // Devices need a privilege that a receiver need not have.
        if (errnoCode(err) === 'EPERM') return false;
        throw err;
      }
      chmodSync(host, permissionsOf(stat.mode));
    }
    this.#own(host, stat);
    finishPath(host, { mode: 0, uid: 0, gid: 0, mtimeNs: stat.mtimeNs });
    return false;
  }

  /** Says that the list of files is whole. */
  statsEnd(): void {
    if (this.#ended) throw refused('it ended its list twice');
    while (this.#stack.length > 0) this.#leave();
    this.#ended = true;
  }

  /** Takes bytes of a file that was asked for, in one or more parts. */
  data(id: number, parts: readonly Uint8Array[]): void {
    const file = this.#pending.get(id);
    if (file === undefined) throw refused(`it sent data of file ${id}, which was not asked for`);
    if (file.fd === undefined) {
      if (this.#open >= maxOpen) throw refused(`it sends more than ${maxOpen} files at once`);
      file.fd = createFile(file.at, permissionsOf(file.stat.mode), this.#nursery);
      this.#open++;
    }
    this.bytes += writeParts(file.fd, parts);
  }

  /** Says that a file has come whole. */
  dataEnd(id: number): void {
    const file = this.#pending.get(id);
    if (file === undefined) throw refused(`it ended file ${id}, which was not asked for`);
    this.#pending.delete(id);
    if (file.fd !== undefined) this.#open--;
    this.#close(file);
  }

  /** Makes hard links, and sets the modes and times of folders, once nothing more is written. */
  finish(): void {
    this.#nursery?.close();
    for (const { path, host, target, parent } of this.#links) {
      const to = `${this.#dest}/${target}`;
      const have = lstatHost(host);
      const want = lstatHost(to);
      if (want === undefined)
        throw refused(`${quote(path)} is a hard link to ${quote(target)}, which is not there`);
      if (have !== undefined && have.ino === want.ino && have.dev === want.dev) continue;
      this.#replace(parent, host, have, 'file');
      linkSync(to, host);
    }
    for (const { host, stat, changed } of this.#folders.reverse()) {
      if (!changed || stat === undefined) continue;
      this.#own(host, stat);
      chmodSync(host, permissionsOf(stat.mode));
      setXattrs(host, stat.xattrs);
      lutimesNs(host, stat.mtimeNs, stat.mtimeNs);
    }
  }

  /** Closes the open files and removes those that are not whole. */
  abort(): void {
    this.#nursery?.close();
    for (const file of this.#pending.values()) {
      if (file.fd === undefined) continue;
      closeSync(file.fd);
      rmSync(file.at, { force: true });
    }
    this.#pending.clear();
  }

  /** The folder that a path is in. It must have been sent, and the path must come after those before it. */
  #enter(path: string): Frame {
    checkPath(path);
    const slash = path.lastIndexOf('/');
    const dir = slash < 0 ? '' : path.slice(0, slash);
    const name = path.slice(slash + 1);
    while (this.#stack.length > 1 && this.#stack.at(-1)!.path !== dir) this.#leave();
    const frame = this.#stack.at(-1)!;
    if (frame.path !== dir) throw refused(`${quote(path)} came without its folder, or out of order`);
    if (frame.last !== undefined && compareNames(frame.last, name) >= 0) {
      const how = frame.last === name ? 'twice' : `after ${quote(frame.last)}, out of order`;
      throw refused(`${quote(path)} came ${how}`);
    }
    frame.last = name;
    return frame;
  }

  #leave(): void {
    const frame = this.#stack.pop()!;
    if (this.#options.mode === 'merge') return;
    for (const name of frame.unseen) {
      rmSync(`${frame.host}/${name}`, { recursive: true, force: true });
      frame.changed = true;
    }
  }

  #folder(parent: Frame, host: string, stat: Stat, there: HostStat | undefined): void {
    const frame: Frame = {
      path: stat.path,
      host,
      unseen: new Set(),
      last: undefined,
      stat,
      changed: true,
    };
    if (there?.isDirectory() !== true) {
      this.#replace(parent, host, there, 'dir');
      mkdirSync(host, { mode: 0o700 });
    } else {
      const mode = there.mode & 0o7777;
      frame.changed =
        this.#options.mode === 'merge' ||
        mode !== permissionsOf(stat.mode) ||
        there.mtimeNs !== stat.mtimeNs ||
        !sameXattrs(host, stat.xattrs);
      // Others than root may write into it only like this; `finish` sets it right.
      if (this.#uid !== 0 && (mode & 0o700) !== 0o700) {
        chmodSync(host, mode | 0o700);
        frame.changed = true;
      }
      frame.unseen = new Set(readdirSync(host));
    }
    this.#folders.push(frame);
    this.folders.push(stat.path);
    this.#stack.push(frame);
  }

  #link(parent: Frame, host: string, stat: Stat): void {
    const { path, link } = stat;
    checkPath(link);
    if (!this.#files.has(link) || link === path) {
      throw refused(`${quote(path)} is a hard link to ${quote(link)}, which is no file sent before it`);
    }
    this.#links.push({ path, host, target: link, parent });
  }

  /** Whether the file on disk is the described one, but for attributes that can be set without its bytes. */
  #same(host: string, stat: Stat, there: HostStat): boolean {
    if (this.#options.mode !== 'mirror') return false;
    if (there.size !== stat.size || there.mtimeNs !== stat.mtimeNs) return false;
    if (this.#options.wary && stat.mtimeNs % second === 0n && stat.size > 0) return false;
    const mode = permissionsOf(stat.mode);
    const sameMode = (there.mode & 0o7777) === mode;
    const sameAttributes = sameXattrs(host, stat.xattrs);
    if (sameMode && sameAttributes) return true;
    // A change here would be one of the other names of the file, too.
    if (there.nlink > 1) return false;
    if (!sameMode) chmodSync(host, mode);
    if (!sameAttributes) setXattrs(host, stat.xattrs);
    return true;
  }

  #replace(parent: Frame, host: string, there: HostStat | undefined, by: FileType): void {
    if (there !== undefined) {
      if (this.#options.careful) checkReplaceable(host, there.mode, by);
      rmSync(host, { recursive: true, force: true });
    }
    parent.changed = true;
  }

  /** Ends a file: the last of its bytes are written. */
  #close({ host, at, stat, fd }: Pending): void {
    const mode = permissionsOf(stat.mode);
    const file = fd ?? createFile(at, mode, this.#nursery);
    try {
      try {
        const [uid, gid] = this.#options.owners ? [stat.uid, stat.gid] : [this.#uid, this.#gid];
        finishFile(file, { mode, uid, gid }, false);
        futimesNs(file, stat.mtimeNs, stat.mtimeNs);
      } finally {
        closeSync(file);
      }
      const xattrs = stat.xattrs.filter(([name]) => isOwnXattr(name));
      if (xattrs.length > 0) finishPath(at, { mode, uid: 0, gid: 0, xattrs });
      if (at !== host) renameSync(at, host);
    } catch (err) {
      if (at !== host) rmSync(at, { force: true });
      throw err;
    }
  }

  #own(host: string, stat: Stat): void {
    if (this.#options.owners && (stat.uid !== this.#uid || stat.gid !== this.#gid)) {
      lchownSync(host, stat.uid, stat.gid);
    }
  }
}
