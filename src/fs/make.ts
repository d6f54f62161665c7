/**
 * Makes single files on the host: bytes, holes, nodes and attributes. All other files of fs write through these
 * functions.
 */
import { closeSync, constants, fchmodSync, ftruncateSync, readSync, writevSync } from 'node:fs';
import { dirname } from 'node:path';
import { threadId } from 'node:worker_threads';
import { canceled, errnoCode, fail } from '../errors/index.ts';
import {
  chmodSync,
  closeFd,
  copyFileRangeAt,
  fchownSync,
  lchownSync,
  lsetxattr,
  lutimesNs,
  type mknod,
  mknodInTree,
  type Nursery,
  openSync,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  seekData,
  seekHole,
  writeAll,
} from '../linux/index.ts';
import { openEntry } from './real.ts';
import { fileType } from './stat.ts';
import type { FsEntry } from './view.ts';

/** The attributes that a made file gets. */
export interface Attributes {
  /** Permission bits, 0 … 0o7777; symlinks have none of their own. */
  mode: number;
  uid: number;
  gid: number;
  /** undefined: the time is left as it is, which is now. */
  mtimeNs?: bigint;
  xattrs?: readonly [name: string, value: Buffer][];
}

/** The part of a task's context that tells whether the caller gave up. */
export interface Abortable {
  aborted(): boolean;
}

/** Returns a function that throws `canceled` when the caller has given up. */
export function stopper(ctx: Abortable): () => void {
  return () => {
    if (ctx.aborted()) throw canceled();
  };
}

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
const umask = process.umask();
const euid = process.geteuid?.() ?? 0;
const egid = process.getegid?.() ?? 0;

/** Whether a file that this process makes has this owner without chown. */
export function isOurs({ uid, gid }: Pick<Attributes, 'uid' | 'gid'>): boolean {
  return uid === euid && gid === egid;
}

/** Opens a new file for writing, one of many with a `nursery`. Throws when the name is taken. */
export function createFile(host: string, mode: number, nursery?: Nursery): number {
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  return nursery?.create(host, flags, mode & 0o777) ?? openSync(host, flags, mode & 0o777);
}

/**
 * Sets owner and mode of an open file just made with `mode`. The mode comes last, since a change of owner clears setuid
 * bits.
 */
export function finishFile(fd: number, { mode, uid, gid }: Attributes, setOwner: boolean): void {
  const owned = !setOwner && isOurs({ uid, gid });
  if (!owned) fchownSync(fd, uid, gid);
  if ((mode & (umask | 0o7000)) !== 0) fchmodSync(fd, mode);
}

/** Sets extended attributes and times. Call it last: writing and changing owners undo both. */
export function finishPath(host: string, { xattrs, mtimeNs }: Attributes): void {
  for (const [name, value] of xattrs ?? []) {
    try {
      lsetxattr(host, name, value);
    } catch (err) {
      // Some filesystems cannot store user attributes; files are whole without them.
      if (!name.startsWith('user.') || errnoCode(err) !== 'ENOTSUP') throw err;
    }
  }
  if (mtimeNs !== undefined) lutimesNs(host, mtimeNs, mtimeNs);
}

/** Sets all attributes of an existing file. */
export function setAttributes(host: string, type: FsEntry['type'], attributes: Attributes): void {
  lchownSync(host, attributes.uid, attributes.gid);
  if (type !== 'symlink') chmodSync(host, attributes.mode);
  finishPath(host, attributes);
}

/**
 * Makes a device or FIFO, in a tree of a store; or elsewhere, with `mknod` for `make`. Refuses a character device 0/0,
 * which would be a deletion in a layer.
 */
export function makeNode(
  host: string,
  entry: Pick<FsEntry, 'type' | 'rdev' | 'path'>,
  make: typeof mknod = mknodInTree,
): void {
  if (entry.type === 'fifo') make(host, S_IFIFO | 0o600, 0);
  else if (entry.type === 'char' && entry.rdev === 0n) {
    throw fail('unsupported', 'file', `${entry.path}: a character device 0/0 cannot be in a layer`, {
      hint: 'Exclude it: layers use such devices to mark deletions.',
    });
  } else make(host, (entry.type === 'char' ? S_IFCHR : S_IFBLK) | 0o600, entry.rdev ?? 0n);
}

/**
 * Checks that a file at `host` (`mode` is its `st_mode`) may be replaced by a build output's file of type `by`. A
 * device, FIFO or socket may be replaced only by its own type. Throws `invalid`.
 */
export function checkReplaceable(host: string, mode: number, by: FsEntry['type']): void {
  const type = fileType(mode);
  if (type === 'file' || type === 'symlink' || type === 'dir' || type === by) return;
  const kind = type === 'fifo' ? 'a FIFO' : type === 'socket' ? 'a socket' : 'a device';
  throw fail('invalid', 'export', `${host} is not replaced: it is ${kind}`, {
    hint: 'Remove it, or export into another folder.',
  });
}

let parts = 0;

/** A name beside `host` for a file that will replace it when it is whole. */
export function partOf(host: string): string {
  return `${dirname(host)}/.drydock-${process.pid}-${threadId}-${parts++}.part`;
}

/** The largest file, in bytes, that is read and written in one go. */
const smallFile = 256 * 1024;
const chunkSize = 1 << 20;
let buffer: Buffer | undefined;

/**
 * Copies an entry's bytes into a new file, keeping holes, and sets owner and mode. Returns the bytes of the file.
 * `setOwner`: chown even when the file should be ours already (a set-group-ID folder may have changed its group).
 *
 *     copyFile(entry, '/root/snapshots/7/fs/etc/motd', { mode: 0o644, uid: 0, gid: 0 }, false, ctx);
 */
export function copyFile(
  entry: FsEntry,
  host: string,
  attributes: Attributes,
  setOwner: boolean,
  ctx: Abortable,
  nursery?: Nursery,
): number {
  const from = openEntry(entry);
  try {
    const to = createFile(host, attributes.mode, nursery);
    try {
      const size = entry.size <= smallFile ? copySmall(from, to) : copyLarge(from, to, entry.size, ctx);
      finishFile(to, attributes, setOwner);
      return size;
    } finally {
      closeSync(to);
    }
  } finally {
    closeFd(from);
  }
}

function copySmall(from: number, to: number): number {
  buffer ??= Buffer.allocUnsafe(chunkSize);
  let size = 0;
  for (;;) {
    const n = readSync(from, buffer, 0, chunkSize, null);
    if (n > 0) writeAll(to, buffer.subarray(0, n));
    size += n;
    // A short read of a regular file is its end.
    if (n < chunkSize) return size;
  }
}

/** Writes parts one after the other at the file's position; returns their bytes. At most 1,024 parts at once. */
export function writeParts(fd: number, parts: readonly Uint8Array[]): number {
  const [only] = parts;
  let length = 0;
  for (const part of parts) length += part.length;
  if (parts.length === 1 && only !== undefined) writeAll(fd, only);
  else {
    let done = parts.length === 0 ? 0 : writevSync(fd, parts);
    // The rest, where the system took less.
    for (const part of done === length ? [] : parts) {
      if (done < part.length) writeAll(fd, part.subarray(done));
      done = Math.max(0, done - part.length);
    }
  }
  return length;
}

function copyLarge(from: number, to: number, size: number, ctx: Abortable): number {
  const copy = new RangeCopier(from, to);
  let at = 0;
  while (at < size) {
    const data = seekData(from, at);
    if (data < 0) break;
    const end = Math.min(seekHole(from, data), size);
    at = data;
    while (at < end) {
      if (ctx.aborted()) throw canceled();
      const n = copy.range(at, Math.min(end - at, 16 * chunkSize));
      if (n === 0) break;
      at += n;
    }
    if (at < end) break;
  }
  // The file ends with a hole.
  ftruncateSync(to, size);
  return size;
}

/** Copies ranges inside the kernel as long as the filesystems can, then through a buffer. */
class RangeCopier {
  readonly #from: number;
  readonly #to: number;
  #inKernel = true;

  constructor(from: number, to: number) {
    this.#from = from;
    this.#to = to;
  }

  range(at: number, length: number): number {
    if (this.#inKernel) {
      try {
        return copyFileRangeAt(this.#from, this.#to, at, length);
      } catch (err) {
        const code = errnoCode(err) ?? '';
        if (!['EXDEV', 'ENOSYS', 'EINVAL', 'EOPNOTSUPP', 'EPERM', 'EIO'].includes(code)) throw err;
        this.#inKernel = false;
      }
    }
    buffer ??= Buffer.allocUnsafe(chunkSize);
    const n = readSync(this.#from, buffer, 0, Math.min(length, chunkSize), at);
    if (n > 0) writeAll(this.#to, buffer.subarray(0, n), at);
    return n;
  }
}
