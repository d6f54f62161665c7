/** Entries of an archive as texts that tell them from others, and their extended attributes. */
import { errnoCode } from '../errors/index.ts';
import { lsetxattr } from '../linux/index.ts';
import type { TarEntry } from '../tar/index.ts';

/** Tells a file from others; the last part is its contents, '' for all that comes before it. */
export function filePrint(entry: TarEntry, contents: string): string {
  return `f ${entry.mode} ${entry.mtimeNs} ${entry.size} ${xattrsOf(entry)} ${contents}`;
}

/** Tells a link or a node from others. */
export function nodePrint(entry: TarEntry): string {
  return `${entry.type} ${entry.mode} ${entry.mtimeNs} ${entry.devmajor}:${entry.devminor} ${xattrsOf(entry)} ${entry.link ?? ''}`;
}

function xattrsOf({ xattrs }: TarEntry): string {
  if (xattrs.size === 0) return '';
  return [...xattrs].map(([name, value]) => `${name}=${value.toString('hex')}`).join(',');
}

/** Sets those attributes that belong to the file, where its filesystem takes them. */
export function setXattrs(at: string, xattrs: TarEntry['xattrs']): void {
  for (const [name, value] of xattrs) {
    if (!name.startsWith('user.') && name !== 'security.capability') continue;
    try {
      lsetxattr(at, name, value);
    } catch (err) {
      if (errnoCode(err) !== 'EOPNOTSUPP' && errnoCode(err) !== 'EPERM') throw err;
    }
  }
}
