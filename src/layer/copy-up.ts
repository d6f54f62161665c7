import { constants } from 'node:fs';
import { type FsEntry, hostXattrs, openEntry } from '../fs/index.ts';
import {
  chmodSync,
  closeFd,
  copyFileSync,
  lchownSync,
  lsetxattr,
  lutimesNs,
  mknodInTree,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  symlinkSync,
} from '../linux/index.ts';

/** Copies one file (not a folder) with all its attributes to a host path that is free. */
export function copyUpFile(from: FsEntry, host: string): void {
  if (from.type === 'symlink') symlinkSync(from.link ?? '', host);
  else if (from.type === 'file') copyFile(from, host);
  else {
    const kind = from.type === 'char' ? S_IFCHR : from.type === 'block' ? S_IFBLK : S_IFIFO;
    mknodInTree(host, kind | 0o600, from.rdev ?? 0n);
  }
  lchownSync(host, from.uid, from.gid);
  if (from.type !== 'symlink') chmodSync(host, from.mode);
  for (const [name, value] of hostXattrs(from)) lsetxattr(host, name, value);
  lutimesNs(host, from.mtimeNs, from.mtimeNs);
}

function copyFile(from: FsEntry, host: string): void {
  const fd = openEntry(from);
  try {
    const how = constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE;
    copyFileSync(`/proc/self/fd/${fd}`, host, how);
  } finally {
    closeFd(fd);
  }
}
