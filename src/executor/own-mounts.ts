/** Mounts of a container that are filesystems of their own: overlays, tmpfs, sysfs. It runs on a worker thread. */
import { chmodSync, closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  inNetworkNamespace,
  lchownSync,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  mount,
} from '../linux/index.ts';
import type { Assembly, Tree } from './assemble.ts';
import { type MappedFolders, mountOverlay } from './overlay-mount.ts';
import { mapped, type OpenRemap } from './remap.ts';
import { contextOption } from './selinux.ts';

/** Mounts an overlay or a tmpfs at a folder. */
export function mountTree(
  tree: Exclude<Tree, { type: 'path' }>,
  at: string,
  label: string | undefined,
  mapped: MappedFolders | undefined,
): void {
  const context = label === undefined ? [] : [contextOption(label)];
  if (tree.type === 'overlay') {
    mountOverlay(at, [...tree.options, ...context], mapped);
    return;
  }
  const owner = mapped === undefined ? [] : [`uid=${mapped.owner.uid}`, `gid=${mapped.owner.gid}`];
  const options = [tree.options, ...context, ...owner].filter((option) => option !== '').join(',');
  mount('tmpfs', at, 'tmpfs', MS_NOSUID | MS_NODEV, options);
}

/** Mounts a sysfs, which shows the interfaces of the network namespace that it is mounted in. */
export function mountSysfs({ at, network }: NonNullable<Assembly['sysfs']>): void {
  mkdirSync(at);
  const mountHere = () => mount('sysfs', at, 'sysfs', MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, '');
  if (network === undefined) {
    mountHere();
    return;
  }
  const fd = openSync(network, 'r');
  try {
    inNetworkNamespace(fd, mountHere);
  } finally {
    closeSync(fd);
  }
}

/** Mounts a tmpfs with files in it, which are never on a disk. */
export function holdInMemory(
  memory: string,
  files: Assembly['files'],
  label: string | undefined,
  remap: OpenRemap | undefined,
): void {
  mkdirSync(memory, { recursive: true });
  mount(
    'tmpfs',
    memory,
    'tmpfs',
    MS_NOSUID | MS_NODEV | MS_NOEXEC,
    ['mode=0700', ...(label === undefined ? [] : [contextOption(label)])].join(','),
  );
  mkdirSync(join(memory, 'runtime'));
  for (const { path, data, uid, gid, mode } of files) {
    writeFileSync(path, data, { mode: 0o600 });
    chmodSync(path, mode);
    if (remap !== undefined) lchownSync(path, mapped(uid, remap.users), mapped(gid, remap.groups));
    else if (uid !== 0 || gid !== 0) lchownSync(path, uid, gid);
  }
}
