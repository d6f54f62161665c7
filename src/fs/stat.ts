/** Turns lstat's results into entries, and reads the extended attributes that count as part of a file. */
import { errnoCode } from '../errors/index.ts';
import {
  deviceXattr,
  type HostStat,
  lgetxattr,
  llistxattr,
  lstat,
  nameLength,
  overlayXattr,
  readlinkSync,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFSOCK,
} from '../linux/index.ts';
import type { FileType, FsEntry } from './view.ts';

/** Calls lstat; undefined when there is no such file, or a parent is missing or no folder. */
export function lstatHost(hostPath: string): HostStat | undefined {
  try {
    return lstat(hostPath);
  } catch (err) {
    // A name that is too long cannot exist; a path that is too long may.
    if (errnoCode(err) === 'ENAMETOOLONG' && nameLength(hostPath) < 4096) return undefined;
    throw err;
  }
}

export function fileType(mode: number): FileType {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return 'dir';
    case S_IFLNK:
      return 'symlink';
    case S_IFCHR:
      return 'char';
    case S_IFBLK:
      return 'block';
    case S_IFIFO:
      return 'fifo';
    case S_IFSOCK:
      return 'socket';
    default:
      return 'file';
  }
}

/** The entry for a file on the host. */
export function entryOf(path: string, name: string, hostPath: string, st: HostStat): FsEntry {
  const type = fileType(st.mode);
  const entry: FsEntry = {
    path,
    name,
    type,
    mode: st.mode & 0o7777,
    uid: st.uid,
    gid: st.gid,
    size: type === 'file' ? st.size : 0,
    mtimeNs: st.mtimeNs,
    nlink: st.nlink,
    ino: st.ino,
    dev: st.dev,
    ctimeNs: st.ctimeNs,
    hostPath,
  };
  if (type === 'symlink') entry.link = readlinkSync(hostPath);
  else if (type === 'char' || type === 'block') entry.rdev = st.rdev;
  return entry;
}

/** Whether a file of a layer is a whiteout: a character device 0/0. */
export function isWhiteout(st: HostStat): boolean {
  return st.rdev === 0n && (st.mode & S_IFMT) === S_IFCHR;
}

/** Whether a folder of a layer hides what lower layers have in it. */
export function isOpaque(hostPath: string): boolean {
  const value = lgetxattr(hostPath, overlayXattr('opaque'));
  return value !== undefined && value.length === 1 && value[0] === 0x79;
}

/** The extended attributes that belong to a file: `security.capability` and `user.*`, sorted by name. */
export function hostXattrs(entry: FsEntry): [name: string, value: Buffer][] {
  if (entry.type !== 'file' && entry.type !== 'dir') return [];
  const names = llistxattr(entry.hostPath);
  if (names.length === 0) return [];
  const out: [string, Buffer][] = [];
  for (const name of names) {
    if (!isOwnXattr(name)) continue;
    const value = lgetxattr(entry.hostPath, name);
    if (value !== undefined) out.push([name, value]);
  }
  return out;
}

/** Whether an extended attribute belongs to the file, and not to this host, to overlayfs or to its stand-in. */
export function isOwnXattr(name: string): boolean {
  if (!name.startsWith('user.')) return name === 'security.capability';
  return !name.startsWith('user.overlay.') && name !== deviceXattr;
}
