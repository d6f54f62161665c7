/** Writes a whole view into a folder on the host, which may have files in it already. */
import { canceled, errnoCode } from '../errors/index.ts';
import {
  chmodSync,
  type HostStat,
  linkSync,
  mkdirSync,
  mknod,
  removeTree,
  renameSync,
  rmSync,
  symlinkSync,
} from '../linux/index.ts';
import {
  type Abortable,
  type Attributes,
  checkReplaceable,
  copyFile,
  finishPath,
  makeNode,
  partOf,
  setAttributes,
} from './make.ts';
import { OpenFolders } from './open-folders.ts';
import { inFolder } from './real.ts';
import { walkSelected } from './select.ts';
import { lstatHost } from './stat.ts';
import type { FsEntry, FsView } from './view.ts';

interface WriteOptions {
  /** The time of everything that is written, ns since the epoch; undefined: the view's times. */
  timestampNs?: bigint;
  /** Whether to set the view's owners; otherwise everything belongs to this process's user. */
  owners: boolean;
  /**
   * Whether to continue when an extended attribute or a device cannot be made (no privilege, or none on that
   * filesystem).
   */
  lenient: boolean;
  /** Whether the folder itself gets the attributes of the view's root. */
  root: boolean;
}

export interface WrittenTree {
  /** The number of files, folders and links. */
  entries: number;
  /** The number of bytes of file contents. */
  bytes: number;
}

const refused = new Set(['EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS']);

/**
 * Writes a view's files below `dest`, a real folder. Folders are merged. A file or symlink in the way is replaced and
 * never written through: no symlink below `dest` is followed, also when somebody puts one there meanwhile. The old file stays until the new one is whole. A device,
 * FIFO or socket is not replaced (`invalid`). Hard links within the view stay hard links.
 *
 *     writeTree(view, '/srv/out', { owners: false, lenient: true, root: false }, ctx); // as the user who builds
 */
export function writeTree(view: FsView, dest: string, options: WriteOptions, ctx: Abortable): WrittenTree {
  const folders = new OpenFolders(dest);
  try {
    return writeInto(folders, dest, view, options, ctx);
  } catch (err) {
    throw folders.readable(err);
  } finally {
    folders.close();
  }
}

function writeInto(
  folders: OpenFolders,
  dest: string,
  view: FsView,
  options: WriteOptions,
  ctx: Abortable,
): WrittenTree {
  const written: WrittenTree = { entries: 0, bytes: 0 };
  const links = new Map<string, string>();
  const setgid: boolean[] = [];
  const attributesOf = (entry: FsEntry): Attributes => ({
    mode: entry.mode,
    uid: options.owners ? entry.uid : (process.geteuid?.() ?? entry.uid),
    gid: options.owners ? entry.gid : (process.getegid?.() ?? entry.gid),
    mtimeNs: options.timestampNs ?? entry.mtimeNs,
  });
  const tolerate = (act: () => void): boolean => {
    try {
      act();
      return true;
    } catch (err) {
      if (!options.lenient || !refused.has(errnoCode(err) ?? '')) throw err;
      return false;
    }
  };
  const setXattrs = (host: string, entry: FsEntry) => {
    for (const xattr of view.xattrs(entry))
      tolerate(() => finishPath(host, { ...noAttributes, xattrs: [xattr] }));
  };
  const tick = () => {
    if ((++written.entries & 63) === 0 && ctx.aborted()) throw canceled();
  };
  const writeFile = (entry: FsEntry, rel: string) => {
    tick();
    const name = rel.slice(rel.lastIndexOf('/') + 1);
    const host = folders.at(name);
    const there = lstatHost(host);
    if (there !== undefined) checkReplaceable(folders.shown(name), there.mode, entry.type);
    const link = entry.nlink > 1 ? `${entry.dev}:${entry.ino}` : undefined;
    const first = link === undefined ? undefined : links.get(link);
    if (link !== undefined && first === undefined) links.set(link, rel);
    const attributes = attributesOf(entry);
    if (entry.type === 'file' && first === undefined) {
      replaceWhole(host, there, (at) => {
        written.bytes += copyFile(entry, at, attributes, setgid.at(-1) ?? false, ctx);
        setXattrs(at, entry);
        finishPath(at, attributes);
      });
      return;
    }
    if (there !== undefined) removeTree(host);
    if (first !== undefined) {
      const folder = first.slice(0, Math.max(0, first.lastIndexOf('/')));
      const path = folder === '' ? '/' : `/${folder}`;
      inFolder(folder === '' ? dest : `${dest}/${folder}`, path, (at) =>
        linkSync(`${at}/${first.slice(folder === '' ? 0 : folder.length + 1)}`, host),
      );
      return;
    }
    if (entry.type === 'symlink') symlinkSync(entry.link ?? '', host);
    else if (!tolerate(() => makeNode(host, entry, mknod))) return;
    setAttributes(host, entry.type, attributes);
  };
  walkSelected(
    view,
    view.lstat('/')!,
    {},
    {
      enter(entry, rel) {
        if (rel === '') {
          setgid.push(((lstatHost(folders.here)?.mode ?? 0) & 0o2000) !== 0);
          return;
        }
        tick();
        const name = rel.slice(rel.lastIndexOf('/') + 1);
        const host = folders.at(name);
        const there = lstatHost(host);
        if (there?.isDirectory() !== true) {
          if (there !== undefined) {
            checkReplaceable(folders.shown(name), there.mode, 'dir');
            rmSync(host);
          }
          mkdirSync(host);
        }
        folders.enter(name);
        // It is writable until it is filled, in case this process is not root.
        chmodSync(folders.here, entry.mode | 0o700);
        setgid.push((entry.mode & 0o2000) !== 0 || ((lstatHost(folders.here)?.mode ?? 0) & 0o2000) !== 0);
      },
      file(entry, rel) {
        if (entry.type !== 'socket') writeFile(entry, rel);
      },
      leave(entry, rel) {
        setgid.pop();
        if (rel !== '' || options.root) {
          setXattrs(folders.here, entry);
          setAttributes(folders.here, 'dir', attributesOf(entry));
        }
        if (rel !== '') folders.leave();
      },
    },
  );
  return written;
}

const noAttributes = { mode: 0, uid: 0, gid: 0 };

/**
 * Makes a file at `host`. When something is there, the new file is made under another name first, and the old one stays
 * until it is whole.
 */
function replaceWhole(host: string, there: HostStat | undefined, make: (at: string) => void): void {
  if (there === undefined) {
    make(host);
    return;
  }
  const part = partOf(host);
  try {
    make(part);
    if (there.isDirectory()) removeTree(host);
    renameSync(part, host);
  } catch (err) {
    rmSync(part, { force: true });
    throw err;
  }
}
