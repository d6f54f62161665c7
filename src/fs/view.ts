/**
 * The interface of fs: a read-only, synchronous view of a file tree, however the tree is stored. Paths are absolute
 * within the view (`/`, `/etc/passwd`) and clean (no `.`, `..`, doubled or trailing slashes); names are spelled as in
 * linux/names.ts. A view never follows symlinks by itself and never leaves its root; `resolvePath` follows links inside
 * it.
 */

import type { FileType } from '../tar/index.ts';
import type { Mount } from './mount.ts';
import { foldersIn } from './overlay-options.ts';

export type { FileType };

/** One file, folder, link or node of a view, as lstat shows it. */
export interface FsEntry {
  /** Clean absolute path in the view. */
  path: string;
  name: string;
  type: FileType;
  /** Permission bits with setuid, setgid and sticky: 0 … 0o7777. */
  mode: number;
  uid: number;
  gid: number;
  /** Size in bytes; 0 for everything but a regular file. */
  size: number;
  /** ns since the epoch */
  mtimeNs: bigint;
  /** The symlink's target; undefined for other types. */
  link?: string;
  /** Device number (glibc encoding) of char and block nodes. */
  rdev?: bigint;
  /** Files with the same inode and nlink > 1 in one layer are hard links of each other. */
  nlink: number;
  ino: bigint;
  dev: bigint;
  ctimeNs: bigint;
  /**
   * The path of the bytes on the host. It is safe to open with O_NOFOLLOW, since every parent is a real folder of that
   * layer.
   */
  hostPath: string;
}

/** A file tree that can be read. */
export interface FsView {
  lstat(path: string): FsEntry | undefined;
  /**
   * The entries of a folder, sorted by name in byte order. Throws `not-found`, and `invalid` when the path is no
   * folder.
   */
  readdir(path: string): FsEntry[];
  /**
   * Yields while it works and returns the same as `readdir`, for threads that have other work besides a large folder.
   */
  list(path: string): Generator<void, FsEntry[]>;
  /** The extended attributes that belong to the file (`security.capability`, `user.*`), without overlayfs's own. */
  xattrs(entry: FsEntry): [name: string, value: Buffer][];
}

/** A description of a view that can cross to a worker thread; `openView(spec)` makes the view. */
export type ViewSpec =
  | { kind: 'layers' /** Layer folders in overlayfs format, topmost first. */; dirs: string[] }
  | {
      kind: 'folder';
      dir: string;
      /** Shows every file as owned by 0:0, as in a build context. */
      rootOwned: boolean;
      /** The patterns of `.dockerignore`, and BuildKit's include patterns and follow-paths. */
      excludes?: string[];
      includes?: string[];
      followPaths?: string[];
      /** The prefix of paths in the stat cache, which remembers content digests; undefined: none are remembered. */
      cacheKey?: string;
      /**
       * `fixed`: nobody changes the folder while it is in use, so contents that were read once stay true. `kept`: the
       * same, and its files are ours and are only ever replaced by new ones: they may become files of layers, as hard
       * links. `given`: the same, and nobody will use the folder again.
       */
      state?: 'fixed' | 'kept' | 'given';
      /** A key for the present contents of the folder: it never stands for any other contents. */
      stamp?: string;
    }
  /** A view with the files of a folder at its top besides. */
  | { kind: 'added'; to: ViewSpec; dir: string }
  /** Several views as one; of files of one path the first one's counts. */
  | { kind: 'merged'; of: ViewSpec[] }
  | { kind: 'empty' };

/** The view spec of a snapshot's mounts (a bind or an overlay). Nothing is mounted. */
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

/** A selection of a view that a content digest covers. */
export interface ContentSelector {
  /** Path in the view; with `wildcard`, a pattern of Go's `filepath.Match`. */
  path: string;
  wildcard?: boolean;
  /** Whether a symlink at the end of the path is followed. */
  followLinks?: boolean;
  includes?: string[];
  excludes?: string[];
  /** Paths in the view that must exist, whatever the patterns select. */
  required?: string[];
}
