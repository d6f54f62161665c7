/**
 * Converts Go's os.FileMode, which fsutil's stats carry, from and to a file's type and permission bits.
 * https://pkg.go.dev/io/fs#FileMode
 */
import type { FileType } from '../../fs/index.ts';

const dir = 0x80000000;
const symlink = 1 << 27;
const device = 1 << 26;
const fifo = 1 << 25;
const socket = 1 << 24;
const setuid = 1 << 23;
const setgid = 1 << 22;
const charDevice = 1 << 21;
const sticky = 1 << 20;
const irregular = 1 << 19;

/** The bits of the type. When none is set, the file is regular. */
const typeBits = (dir | symlink | device | fifo | socket | charDevice | irregular) >>> 0;

/** Whether a mode is a regular file's. */
export function isRegular(mode: number): boolean {
  return (mode & typeBits) === 0;
}

/** The file type of a mode; undefined for one that no file system of ours has. */
export function typeOf(mode: number): FileType | undefined {
  const type = (mode & typeBits) >>> 0;
  if (type === 0) return 'file';
  if (type === dir) return 'dir';
  if (type === symlink) return 'symlink';
  if (type === device) return 'block';
  if (type === device + charDevice) return 'char';
  if (type === fifo) return 'fifo';
  if (type === socket) return 'socket';
  return undefined;
}

/** The permission bits, 0 … 0o7777. */
export function permissionsOf(mode: number): number {
  return (
    (mode & 0o777) |
    (mode & setuid ? 0o4000 : 0) |
    (mode & setgid ? 0o2000 : 0) |
    (mode & sticky ? 0o1000 : 0)
  );
}

const bits: Record<FileType, number> = {
  file: 0,
  dir,
  symlink,
  block: device,
  char: device | charDevice,
  fifo,
  socket,
};

/** The mode of a type with these permission bits, 0 … 0o7777. */
export function goMode(type: FileType, permissions: number): number {
  return (
    (bits[type] |
      (permissions & 0o777) |
      (permissions & 0o4000 ? setuid : 0) |
      (permissions & 0o2000 ? setgid : 0) |
      (permissions & 0o1000 ? sticky : 0)) >>>
    0
  );
}
