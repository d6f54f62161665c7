/** What a peer says of a file beside its bytes: the device number, and the extended attributes that are the file's own. */
import { finishPath, isOwnXattr } from '../../fs/index.ts';
import { lgetxattr, llistxattr, lremovexattr, makedev } from '../../linux/index.ts';
import { typeOf } from './mode.ts';
import type { Stat } from './packet.ts';

/** The device number of a described device; 0 for a FIFO. */
export function rdevOf(stat: Stat): bigint {
  return typeOf(stat.mode) === 'fifo' ? 0n : makedev(stat.devmajor, stat.devminor);
}

/** Whether a file has exactly the extended attributes that were sent. */
export function sameXattrs(host: string, sent: Stat['xattrs']): boolean {
  const have = llistxattr(host).filter(isOwnXattr);
  const want = sent.filter(([name]) => isOwnXattr(name));
  if (have.length !== want.length) return false;
  return want.every(([name, value]) => lgetxattr(host, name)?.equals(value) === true);
}

/** Gives a file the extended attributes that were sent, and takes others away. */
export function setXattrs(host: string, sent: Stat['xattrs']): void {
  const want = sent.filter(([name]) => isOwnXattr(name));
  const names = new Set(want.map(([name]) => name));
  for (const name of llistxattr(host)) if (isOwnXattr(name) && !names.has(name)) lremovexattr(host, name);
  finishPath(host, { mode: 0, uid: 0, gid: 0, xattrs: want });
}
