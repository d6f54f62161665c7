/** System calls that Node lacks, through libc. All are synchronous and throw a Node-style error (`code`, `errno`, `syscall`, `path`). */
import koffi from 'koffi';
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, cName, fault, fns } from './call.ts';
import { compareNames, nameOf } from './names.ts';
import { deviceXattr, inUserNamespace } from './user-namespace.ts';

const ENODATA = 61;
const EOPNOTSUPP = 95;

let scratch = Buffer.alloc(4096);

/** Reads an extended attribute without following a symlink; undefined when the file does not have it. */
export function lgetxattr(path: string, name: string): Buffer | undefined {
  for (;;) {
    const n = Number(fns.lgetxattr(cName(path), cName(name), scratch, scratch.length));
    if (n >= 0) return Buffer.from(scratch.subarray(0, n));
    const errno = koffi.errno();
    if (errno === ENODATA || errno === EOPNOTSUPP) return undefined;
    if (errno === 34 /* ERANGE */ && scratch.length < 1 << 17) scratch = Buffer.alloc(1 << 17);
    else throw fault('lgetxattr', path);
  }
}

/** The names of a file's extended attributes, sorted. */
export function llistxattr(path: string): string[] {
  for (;;) {
    const n = Number(fns.llistxattr(cName(path), scratch, scratch.length));
    if (n === 0) return [];
    if (n > 0) {
      return nameOf(scratch, 0, n - 1)
        .split('\0')
        .sort(compareNames);
    }
    const errno = koffi.errno();
    if (errno === EOPNOTSUPP) return [];
    if (errno === 34 && scratch.length < 1 << 17) scratch = Buffer.alloc(1 << 17);
    else throw fault('llistxattr', path);
  }
}

export function lsetxattr(path: string, name: string, value: Uint8Array): void {
  if (fns.lsetxattr(cName(path), cName(name), value, value.length, 0) !== 0) throw fault('lsetxattr', path);
}

export function lremovexattr(path: string, name: string): void {
  if (fns.lremovexattr(cName(path), cName(name)) !== 0) throw fault('lremovexattr', path);
}

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

/**
 * Makes a device or FIFO node in a tree of a store. In a user namespace the kernel makes no device nodes; an empty file
 * stands for each there, and `lstat` shows it as the node.
 */
export function mknodInTree(path: string, mode: number, dev: bigint | number): void {
  const type = mode & S_IFMT;
  if ((type !== S_IFCHR && type !== S_IFBLK) || Number(dev) === 0 || !inUserNamespace()) {
    mknod(path, mode, dev);
    return;
  }
  mknod(path, S_IFREG | (mode & 0o7777), 0);
  const text = `${type === S_IFCHR ? 'c' : 'b'} ${major(dev)}:${minor(dev)}`;
  lsetxattr(path, deviceXattr, Buffer.from(text));
}

/** Makes a device, FIFO or socket node. `mode` has the type bits and permissions; `dev` comes from `makedev`. */
export function mknod(path: string, mode: number, dev: bigint | number): void {
  if (fns.mknod(cName(path), mode, dev) !== 0) throw fault('mknod', path);
}

/** Encodes a device number as glibc does. */
export function makedev(major: number, minor: number): bigint {
  if (major < 0x1000 && minor < 0x100) return BigInt(major * 256 + minor);
  const maj = BigInt(major);
  const min = BigInt(minor);
  return ((maj & 0xfffff000n) << 32n) | ((maj & 0xfffn) << 8n) | ((min & 0xffffff00n) << 12n) | (min & 0xffn);
}
export function major(dev: bigint | number): number {
  const d = BigInt(dev);
  return Number(((d >> 32n) & 0xfffff000n) | ((d >> 8n) & 0xfffn));
}
export function minor(dev: bigint | number): number {
  const d = BigInt(dev);
  return Number(((d >> 12n) & 0xffffff00n) | (d & 0xffn));
}

export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_REC = 16384;
export const MS_PRIVATE = 1 << 18;
export const MNT_FORCE = 1;
export const MNT_DETACH = 2;

export function mount(source: string, target: string, fstype: string, flags: number, data: string): void {
  if (fns.mount(cName(source), cName(target), fstype, flags, data) !== 0) throw fault('mount', target);
}

export function umount(target: string, flags = 0): void {
  if (fns.umount2(cName(target), flags) !== 0) throw fault('umount2', target);
}

/** Takes an exclusive advisory lock on an open file. Returns false when another open file description holds it. */
export function tryLock(fd: number): boolean {
  if (fns.flock(fd, 2 | 4) === 0) return true;
  if (koffi.errno() === 11 /* EWOULDBLOCK */) return false;
  throw fault('flock');
}

const O_CREAT = 0o100;

/**
 * Opens a file to lock it, and makes it if need be. The descriptor belongs to the process and not, as with Node's own
 * functions, to the thread. The caller closes it with `closeFd`.
 */
export function openLock(path: string): number {
  const fd = fns.openat(AT_FDCWD, cName(path), O_RDWR | O_CREAT | O_CLOEXEC, 0o600);
  if (fd < 0) throw fault('open', path);
  return fd;
}

/** Takes an exclusive advisory lock on an open file, and waits for it: only for worker threads. */
export function waitForLock(fd: number): void {
  while (fns.flock(fd, 2) !== 0) if (koffi.errno() !== 4 /* EINTR */) throw fault('flock');
}

const times = Buffer.alloc(32);

/** Sets access and modification time, in ns since the epoch, of the file itself (a symlink is not followed). */
export function lutimesNs(path: string, atimeNs: bigint, mtimeNs: bigint): void {
  putTimespec(0, atimeNs);
  putTimespec(16, mtimeNs);
  if (fns.utimensat(AT_FDCWD, cName(path), times, AT_SYMLINK_NOFOLLOW) !== 0) throw fault('utimensat', path);
}

/** Sets both times of an open file. */
export function futimesNs(fd: number, atimeNs: bigint, mtimeNs: bigint): void {
  putTimespec(0, atimeNs);
  putTimespec(16, mtimeNs);
  if (fns.futimens(fd, times) !== 0) throw fault('futimens');
}

function putTimespec(at: number, ns: bigint): void {
  let sec = ns / 1_000_000_000n;
  let rest = ns % 1_000_000_000n;
  if (rest < 0n) {
    sec -= 1n;
    rest += 1_000_000_000n;
  }
  times.writeBigInt64LE(sec, at);
  times.writeBigInt64LE(rest, at + 8);
}

/** The next offset with data (`SEEK_DATA`) at or after `offset`; -1 when there is none. */
export function seekData(fd: number, offset: number): number {
  const n = Number(fns.lseek(fd, offset, 3));
  if (n < 0) {
    if (koffi.errno() === 6 /* ENXIO */) return -1;
    throw fault('lseek');
  }
  return n;
}

/** The next hole (`SEEK_HOLE`) at or after `offset`; the file's end counts as one. */
export function seekHole(fd: number, offset: number): number {
  const n = Number(fns.lseek(fd, offset, 4));
  if (n < 0) throw fault('lseek');
  return n;
}

const offsets = [Buffer.alloc(8), Buffer.alloc(8)] as const;

/** Copies bytes between two open files inside the kernel, both at `offset`; returns their number, 0 at the end. */
export function copyFileRangeAt(fdIn: number, fdOut: number, offset: number, length: number): number {
  for (const buffer of offsets) buffer.writeBigInt64LE(BigInt(offset));
  const n = Number(fns.copy_file_range(fdIn, offsets[0], fdOut, offsets[1], length, 0));
  if (n < 0) throw fault('copy_file_range');
  return n;
}

/** Makes a pipe: descriptors to read from and to write to, which other programs do not inherit (`O_CLOEXEC`). */
export function pipe(): [read: number, write: number] {
  const fds = Buffer.alloc(8);
  if (fns.pipe2(fds, 0o2000000) !== 0) throw fault('pipe2');
  return [fds.readInt32LE(0), fds.readInt32LE(4)];
}

/** Takes a shared advisory lock on an open file. Returns false when another holds an exclusive one. */
export function tryLockShared(fd: number): boolean {
  if (fns.flock(fd, 1 | 4) === 0) return true;
  if (koffi.errno() === 11 /* EWOULDBLOCK */) return false;
  throw fault('flock');
}

const SOL_SOCKET = 1;

/** Reads a socket option; undefined when the kernel does not know it or it does not apply to the socket. */
function getsockopt(fd: number, name: number, size: number): Buffer | undefined {
  const value = Buffer.alloc(size);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(size);
  if (fns.getsockopt(fd, SOL_SOCKET, name, value, length) === 0)
    return value.subarray(0, length.readUInt32LE());
  const errno = koffi.errno();
  if (errno === 34 /* ERANGE: more room is needed */ && size < 1 << 19) {
    return getsockopt(fd, name, Math.max(length.readUInt32LE(), size * 2));
  }
  if (errno === 92 /* ENOPROTOOPT */ || errno === EOPNOTSUPP || errno === ENODATA) return undefined;
  throw fault('getsockopt');
}

/** The process that connected to this end of a unix socket (`SO_PEERCRED`); undefined for other sockets. */
export function peerCredentials(fd: number): { pid: number; uid: number; gid: number } | undefined {
  // The kernel answers SO_PEERCRED on TCP too, with meaningless ids.
  if (getsockopt(fd, 39 /* SO_DOMAIN */, 4)?.readInt32LE() !== 1 /* AF_UNIX */) return undefined;
  const ucred = getsockopt(fd, 17 /* SO_PEERCRED */, 12);
  if (ucred === undefined || ucred.length < 12) return undefined;
  return { pid: ucred.readInt32LE(0), uid: ucred.readUInt32LE(4), gid: ucred.readUInt32LE(8) };
}

/**
 * The supplementary groups of the process that connected to a unix socket (`SO_PEERGROUPS`, Linux 4.13); undefined when
 * unknown.
 */
export function peerGroups(fd: number): number[] | undefined {
  const list = getsockopt(fd, 59, 256);
  if (list === undefined) return undefined;
  return Array.from({ length: list.length >> 2 }, (_, i) => list.readUInt32LE(i * 4));
}

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_TOPDIR_FL = 0x00020000;

/**
 * Marks an open folder as the top of unrelated trees (`chattr +T`): ext4 then gives each folder made in it a region of
 * its own. Returns false on filesystems without this mark.
 */
export function markTopFolder(fd: number): boolean {
  const flags = Buffer.alloc(8);
  if (fns.ioctl(fd, FS_IOC_GETFLAGS, flags) !== 0) return false;
  const now = flags.readUInt32LE(0);
  if ((now & FS_TOPDIR_FL) !== 0) return true;
  flags.writeUInt32LE((now | FS_TOPDIR_FL) >>> 0, 0);
  return fns.ioctl(fd, FS_IOC_SETFLAGS, flags) === 0;
}

const FIOCLEX = 0x5451;

/** Closes an open file descriptor in programs that are started from now on (`FD_CLOEXEC`). */
export function closeOnExec(fd: number): void {
  if (fns.ioctl(fd, FIOCLEX, null) !== 0) throw fault('ioctl');
}

const O_RDWR = 2;
const O_NOCTTY = 0o400;
const O_CLOEXEC = 0o2000000;

/** Makes a pseudo-terminal: the end that drives it, and the path of the device for a process. */
export function openPty(): { fd: number; device: string } {
  const fd = Number(fns.posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (fd < 0) throw fault('posix_openpt');
  const name = Buffer.alloc(64);
  if (fns.grantpt(fd) !== 0) throw fault('grantpt');
  if (fns.unlockpt(fd) !== 0) throw fault('unlockpt');
  if (fns.ptsname_r(fd, name, name.length) !== 0) throw fault('ptsname_r');
  return { fd, device: name.toString('latin1', 0, name.indexOf(0)) };
}

const TIOCSWINSZ = 0x5414;

/** Sets a terminal's size. */
export function setTerminalSize(fd: number, rows: number, cols: number): void {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(Math.min(rows, 0xffff), 0);
  size.writeUInt16LE(Math.min(cols, 0xffff), 2);
  if (fns.ioctl(fd, TIOCSWINSZ, size) !== 0) throw fault('ioctl');
}
