/**
 * lstat at a third of the cost of Node's with bigints: one statx for each file into a shared buffer, whose words can be
 * kept as they are. Layout: statx(2), in little-endian byte order, which all supported machines have.
 */
import { lstatSync } from 'node:fs';
import koffi from 'koffi';
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, cName, fault, fns } from './call.ts';
import {
  lgetxattr,
  major,
  makedev,
  minor,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from './libc.ts';
import { rawName } from './names.ts';
import { deviceXattr, inUserNamespace } from './user-namespace.ts';

/** The result of lstat. Times are ns since the epoch; `dev` and `rdev` are in glibc's encoding. */
export class HostStat {
  /** Type bits and permissions. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly size: number;
  readonly ino: bigint;
  readonly dev: bigint;
  readonly rdev: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;

  /** Reads `statWords` words at an index. */
  constructor(words: Uint32Array, at: number) {
    const word = (i: number) => words[at + i] as number;
    this.nlink = word(0);
    this.uid = word(1);
    this.gid = word(2);
    this.mode = word(3);
    this.ino = (BigInt(word(5)) << 32n) | BigInt(word(4));
    this.size = word(7) * 2 ** 32 + word(6);
    this.ctimeNs = timeNs(word(9), word(8), word(10));
    this.mtimeNs = timeNs(word(12), word(11), word(13));
    this.rdev = makedev(word(14), word(15));
    this.dev = makedev(word(16), word(17));
  }

  isFile(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }
  isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }
  isSymbolicLink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }
}

function timeNs(high: number, low: number, ns: number): bigint {
  return BigInt((high | 0) * 2 ** 32 + low) * 1_000_000_000n + BigInt(ns);
}

/** The number of 32-bit words of a file's state. Two states of a file, or two files, differ in them. */
export const statWords = 18;
/** The positions of the mode, and of the seconds (low half) and nanoseconds of the ctime, in these words. */
export const modeWord = 3;
export const ctimeWord = 8;
export const ctimeNsWord = 10;

const buffer = new ArrayBuffer(256);
/** nlink, uid, gid, mode, ino, size. */
const ids = new Uint32Array(buffer, 16, 8);
/** In units of 512 bytes. */
const blocks = new Uint32Array(buffer, 48, 2);
/** Seconds (low and high half) and nanoseconds. */
const ctime = new Uint32Array(buffer, 96, 3);
const mtime = new Uint32Array(buffer, 112, 3);
/** Major and minor numbers: those of a device node, then those of the filesystem. */
const devices = new Uint32Array(buffer, 128, 4);
const STATX_BASIC_STATS = 0x7ff;
const ENOENT = 2;
const ENOTDIR = 20;

/**
 * Writes the state of the file itself (symlinks are not followed) into `words`. Returns false when the file does not
 * exist or a parent is no folder. Throws EACCES, ENAMETOOLONG and the like.
 */
export function lstatInto(path: string, words: Uint32Array, at: number): boolean {
  if (fns.statx(AT_FDCWD, cName(path), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, buffer) !== 0) {
    const errno = koffi.errno();
    if (errno === ENOENT || errno === ENOTDIR) return false;
    // ENOSYS or EPERM: an old kernel, or the seccomp profile of an old container runtime.
    if (errno === 38 || errno === 1) return plainLstat(path, words, at);
    throw fault('lstat', path);
  }
  words.set(ids, at);
  words.set(ctime, at + 8);
  words.set(mtime, at + 11);
  words.set(devices, at + 14);
  if (words[at + 6] === 0 && inUserNamespace()) standsForDevice(path, words, at);
  return true;
}

/** Shows an empty file that stands for a device node as that node. */
function standsForDevice(path: string, words: Uint32Array, at: number): void {
  const mode = words[at + modeWord] as number;
  if ((mode & S_IFMT) !== S_IFREG || words[at + 7] !== 0) return;
  const [, type, high, low] =
    /^([cb]) (\d+):(\d+)$/.exec(lgetxattr(path, deviceXattr)?.toString('latin1') ?? '') ?? [];
  if (type === undefined) return;
  words[at + modeWord] = (mode & ~S_IFMT) | (type === 'c' ? S_IFCHR : S_IFBLK);
  words.set([Number(high), Number(low)], at + 14);
}

function plainLstat(path: string, words: Uint32Array, at: number): boolean {
  const st = lstatSync(rawName(path), { bigint: true, throwIfNoEntry: false });
  if (st === undefined) return false;
  const low = (value: bigint) => Number(value & 0xffffffffn);
  const high = (value: bigint) => Number((value >> 32n) & 0xffffffffn);
  const time = (ns: bigint) => {
    const seconds = (ns - (((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n)) / 1_000_000_000n;
    return [low(seconds), high(seconds), Number(ns - seconds * 1_000_000_000n)];
  };
  blocks.set([low(st.blocks), high(st.blocks)]);
  const counts = [st.nlink, st.uid, st.gid, st.mode].map(Number);
  words.set([...counts, low(st.ino), high(st.ino), low(st.size), high(st.size)], at);
  words.set([...time(st.ctimeNs), ...time(st.mtimeNs)], at + 8);
  words.set([major(st.rdev), minor(st.rdev), major(st.dev), minor(st.dev)], at + 14);
  return true;
}

const one = new Uint32Array(statWords);

/** The state of the file itself; undefined when there is none. Throws as `lstatInto` does. */
export function lstat(path: string): HostStat | undefined {
  return lstatInto(path, one, 0) ? new HostStat(one, 0) : undefined;
}

/** The space that a file takes on its disk. */
interface DiskUse {
  isFolder: boolean;
  bytes: number;
  /** An id within its filesystem, for a file that has several names. */
  inode: string | undefined;
  /** How many names it has. */
  names: number;
}

/** The space of the file itself; undefined when there is none. Throws as `lstatInto` does. */
export function diskUse(path: string): DiskUse | undefined {
  if (!lstatInto(path, one, 0)) return undefined;
  const isFolder = ((one[modeWord] as number) & S_IFMT) === S_IFDIR;
  const names = one[0] as number;
  const bytes = ((blocks[1] as number) * 2 ** 32 + (blocks[0] as number)) * 512;
  return { isFolder, bytes, inode: isFolder || names < 2 ? undefined : `${one[5]} ${one[4]}`, names };
}
