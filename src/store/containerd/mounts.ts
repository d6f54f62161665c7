/** Turns containerd's mounts into layer folders and back. Pure. */
import { fail } from '../../errors/index.ts';
import { folderOption, foldersIn, type Mount } from '../../fs/index.ts';
import type { Mount as WireMount } from '../../pb/containerd/types_pb.js';

/** The folders of a stack, topmost first, and the mount options that are not folders. */
export interface Folders {
  dirs: string[];
  options: string[];
}

/** Checks that mounts are of a kind we can read and write without mounting. Throws `unsupported`. */
export function toMounts(mounts: readonly WireMount[], snapshotter: string): Mount[] {
  return mounts.map(({ type, source, options }) => {
    if (mounts.length === 1 && (type === 'bind' || type === 'overlay')) return { type, source, options };
    throw fail('unsupported', 'store', `the snapshotter ${snapshotter} gives mounts of type ${type}`, {
      hint: 'Use --snapshotter=overlayfs or --snapshotter=native.',
    });
  });
}

/** The folders that a snapshot's mounts name. */
export function foldersOf([mount]: readonly Mount[]): Folders {
  if (mount === undefined) return { dirs: [], options: [] };
  if (mount.type === 'bind') return { dirs: [mount.source], options: [] };
  const folders: Folders = { dirs: [], options: [] };
  for (const option of mount.options) {
    const found = foldersIn(option);
    if (found === undefined) folders.options.push(option);
    else if (found.name === 'upperdir') folders.dirs.unshift(...found.folders);
    else if (found.name === 'lowerdir') folders.dirs.push(...found.folders);
  }
  return folders;
}

/** Read-only mounts of a stack of folders: a bind of a lone one, else an overlay. */
export function readOnly({ dirs, options }: Folders): Mount[] {
  const [top] = dirs;
  if (top === undefined) return [];
  if (dirs.length === 1) return [{ type: 'bind', source: top, options: ['ro', 'rbind'] }];
  return [{ type: 'overlay', source: 'overlay', options: [...options, folderOption('lowerdir', dirs)] }];
}
