/**
 * The door of fs: a read-only, synchronous view of a file tree, whatever holds it. Paths are absolute within the
 * view (`/`, `/etc/passwd`), clean (no `.`, `..`, doubled or trailing slashes) and names as linux/names.ts has them.
 * A view never follows symlinks by itself and never leaves its root: `resolvePath` walks links inside the view.
 */

import type { FileType } from '../tar/index.ts';
import type { Mount } from './mount.ts';
import { foldersIn } from './overlay-options.ts';

export type { FileType };

export interface FsEntry {
  /** Clean absolute path in the view. */
  path: string;
  name: string;
  type: FileType;
  /** Permission bits with setuid, setgid and sticky: 0 … 0o7777. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes; 0 for anything but a file. */
  size: number;
  /** ns since the epoch */
  mtimeNs: bigint;
  /** Symlink target, else undefined. */
  link?: string;
  /** Device number (glibc encoding) of char and block nodes. */
  rdev?: bigint;
  /** Files with the same inode and nlink > 1 in one layer are hard links of each other. */
  nlink: number;
  ino: bigint;
  dev: bigint;
  ctimeNs: bigint;
  /** Where the bytes are on the host. Safe to open with O_NOFOLLOW: every parent is a real folder of that layer. */
  hostPath: string;
}

export interface FsView {
  lstat(path: string): FsEntry | undefined;
  /** Entries of a folder, sorted by name in byte order. Throws `not-found` / `invalid` when it is none. */
  readdir(path: string): FsEntry[];
  /** The same as work that may be cut, for threads that have other things to do than to list a large folder. */
  list(path: string): Generator<void, FsEntry[]>;
  /** Extended attributes that belong to the file (`security.capability`, `user.*`), without overlayfs's own. */
  xattrs(entry: FsEntry): [name: string, value: Buffer][];
}

/** A description of a view that can cross to a worker thread; `openView(spec)` makes the view. */
export type ViewSpec =
  | { kind: 'layers' /** Layer folders in overlayfs format, topmost first. */; dirs: string[] }
  | {
      kind: 'folder';
      dir: string;
      /** Show every file as 0:0, as a build context's files are. */
      rootOwned: boolean;
      /** `.dockerignore` patterns, and BuildKit's include patterns and follow-paths. */
      excludes?: string[];
      includes?: string[];
      followPaths?: string[];
      /** Prefix of paths in the stat cache that remembers content digests; undefined: no remembering. */
      cacheKey?: string;
      /**
       * `fixed`: nobody changes the folder while it is in use, so that what was read of it once holds. `given`: nobody
       * ever will, and its files are ours: they may become files of layers, as hard links.
       */
      state?: 'fixed' | 'given';
      /** Stands for what the folder holds, and for nothing else that it ever held. */
      stamp?: string;
    }
  | { kind: 'empty' };

/** The view spec of a snapshot's mounts (a bind or an overlay). Never mounts anything. */
export function specOfMounts(mounts: readonly Mount[]): ViewSpec {
  const top = mounts[0];
  if (top === undefined) return { kind: 'empty' };
  if (top.type === 'bind') return { kind: 'layers', dirs: [top.source] };
  const dirs: string[] = [];
  for (const option of top.options) {
    const found = foldersIn(option);
    if (found?.name === 'upperdir') dirs.unshift(...found.folders);
    if (found?.name === 'lowerdir') dirs.push(...found.folders);
  }
  return { kind: 'layers', dirs };
}

/** What a content digest covers. */
export interface ContentSelector {
  /** Path in the view; wildcards (`filepath.Match`) when `wildcard`. */
  path: string;
  wildcard?: boolean;
  /** Follow a symlink at the end of the path. */
  followLinks?: boolean;
  includes?: string[];
  excludes?: string[];
  /** Paths in the view that must be there, whatever the patterns select. */
  required?: string[];
}
