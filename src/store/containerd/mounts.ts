/** From containerd's mounts to layer folders and back. Pure, but for names in /proc. */
import { closeSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { fail } from '../../errors/error.ts';
import type { Mount as WireMount } from '../../pb/containerd/types_pb.js';
import type { Mount } from '../store.ts';

/** mount(2) takes one page of options; this leaves room for a few that a caller adds. */
const optionBytes = 3900;

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

/** What a snapshot's mounts say of its folders. */
export function foldersOf([mount]: readonly Mount[]): Folders {
  if (mount === undefined) return { dirs: [], options: [] };
  if (mount.type === 'bind') return { dirs: [mount.source], options: [] };
  const folders: Folders = { dirs: [], options: [] };
  for (const option of mount.options) {
    if (option.startsWith('upperdir=')) folders.dirs.unshift(option.slice('upperdir='.length));
    else if (option.startsWith('lowerdir='))
      folders.dirs.push(...option.slice('lowerdir='.length).split(':'));
    else if (!option.startsWith('workdir=')) folders.options.push(option);
  }
  return folders;
}

/** Read-only mounts of a stack of folders: a bind of a lone one, else an overlay. */
export function readOnly({ dirs, options }: Folders): Mount[] {
  const [top] = dirs;
  if (top === undefined) return [];
  if (dirs.length === 1) return [{ type: 'bind', source: top, options: ['ro', 'rbind'] }];
  return [{ type: 'overlay', source: 'overlay', options: [...options, `lowerdir=${dirs.join(':')}`] }];
}

/**
 * Short names for the folders of deep stacks, which would not go into one mount(2). Only this process's children
 * and threads need to know them, as long as it lives.
 */
export class ShortNames {
  readonly #folders = new Map<string, number>();

  /** The mounts, with a short name of the snapshotter's folder where the options are too long. Throws `unsupported`. */
  shorten(mounts: Mount[]): Mount[] {
    return mounts.map((mount) => {
      if (!tooLong(mount)) return mount;
      const top = foldersOf([mount]).dirs[0] as string;
      const folder = dirname(dirname(top));
      const short = `/proc/${process.pid}/fd/${this.#open(folder)}/`;
      const options = mount.options.map((option) => option.replaceAll(`${folder}/`, short));
      const shorter = { ...mount, options };
      if (!tooLong(shorter)) return shorter;
      const count = foldersOf([mount]).dirs.length;
      throw fail('unsupported', 'store', `${count} layers are more than one overlay mount can stack`, {
        hint: 'Join RUN steps, or start a new stage and COPY --from the old one.',
      });
    });
  }

  #open(folder: string): number {
    const known = this.#folders.get(folder);
    if (known !== undefined) return known;
    const fd = openSync(folder, 'r');
    this.#folders.set(folder, fd);
    return fd;
  }

  close(): void {
    for (const fd of this.#folders.values()) closeSync(fd);
    this.#folders.clear();
  }
}

function tooLong(mount: Mount): boolean {
  return mount.type === 'overlay' && Buffer.byteLength(mount.options.join(',')) > optionBytes;
}
