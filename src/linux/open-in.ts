/**
 * Opens paths inside a folder, however others change that folder meanwhile. A path is walked part by part, each from
 * the file descriptor of the part before. Symlinks are read and followed here, never out of the folder.
 *
 *     const { fd, path } = openIn(root, '/etc/alternatives/awk'); // path: '/usr/bin/mawk'
 */
import { close, constants as fsConstants, fstatSync } from 'node:fs';
import koffi from 'koffi';
import { AT_FDCWD, calls, cName, fault, fns } from './call.ts';
import { S_IFMT, S_IFREG } from './libc.ts';
import { nameOf } from './names.ts';

const { O_DIRECTORY, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK } = fsConstants;
const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const ENOENT = 2;
const ENOTDIR = 20;
const ELOOP = 40;
const EEXIST = 17;
/** The largest number of symlinks followed for one path, as in Linux. */
const maxLinks = 40;
/** How often a part is looked up again while others make and remove it. */
const maxTries = 100;

interface OpenOptions {
  /** Makes missing parts: folders on the way, and this at the end. Their modes are 0755, less the umask. */
  make?: 'folder' | 'file';
  /** Returns true to end the walk before a path (clean, absolute in the folder) is opened. */
  until?: (path: string) => boolean;
}

interface OpenedIn {
  /** The descriptor, opened with O_PATH; undefined where `until` ended the walk. The caller closes it. */
  fd: number | undefined;
  /** The path that was reached: clean, absolute in the folder, without symlinks as far as it was walked. */
  path: string;
}

/**
 * Opens an absolute path, which nobody else can change, with O_PATH. Throws ENOENT and the like. (With Node's own
 * functions the descriptor would belong to the worker thread, and close when that ends.)
 */
export function openPath(path: string, flags = 0): number {
  const fd = fns.openat(AT_FDCWD, cName(path), O_PATH | O_CLOEXEC | flags, 0);
  if (fd < 0) throw fault('open', path);
  return fd;
}

/** Opens a folder in the same way, to be the `root` of `openIn`. Throws ENOENT, ENOTDIR, ELOOP. */
export function openRoot(path: string): number {
  return openPath(path, O_DIRECTORY | O_NOFOLLOW);
}

/** Opens a folder inside an open one. `name`: bytes with a NUL at their end. Undefined when there is no such folder. */
export function openFolderAt(parent: number, name: Buffer): number | undefined {
  const fd = fns.openat(parent, name, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd >= 0) return fd;
  if ([ENOENT, ENOTDIR, ELOOP].includes(koffi.errno())) return undefined;
  throw fault('open', nameOf(name, 0, name.length - 1));
}

/** Closes a descriptor that a function of this room opened. */
export function closeFd(fd: number): void {
  fns.close(fd);
}

/**
 * The same on a thread of libuv's, for a descriptor whose end is work for the kernel: with the last one of a mount
 * namespace all its mounts go, which takes milliseconds.
 */
export function closeFdAside(fd: number): Promise<void> {
  return new Promise((resolve) => close(fd, () => resolve()));
}

/**
 * Opens a path in the folder `root` (a file descriptor). Absolute symlinks start at the root, `..` stops there. Throws
 * a Node-style error: ENOENT, ENOTDIR, ELOOP, EROFS …, and EINVAL when a path continues with `..` beyond the end that
 * `until` set.
 */
export function openIn(root: number, path: string, { make, until }: OpenOptions = {}): OpenedIn {
  /** The folders on the way, deepest last. */
  const held: { name: string; fd: number }[] = [];
  const pending = partsOf(path).reverse();
  let links = 0;
  const letGo = () => {
    for (const { fd } of held.splice(0)) closeFd(fd);
  };
  try {
    for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
      if (part === '..') {
        const left = held.pop();
        if (left !== undefined) closeFd(left.fd);
        continue;
      }
      const names = held.map(({ name }) => name);
      const here = `/${[...names, part].join('/')}`;
      if (until?.(here)) {
        // Parts beyond it would not be walked: a symlink there could lead anywhere.
        if (pending.includes('..'))
          throw Object.assign(new Error(`EINVAL: ${path}`), { code: 'EINVAL', path });
        return { fd: undefined, path: `/${[...names, part, ...pending.reverse()].join('/')}` };
      }
      const isLast = pending.length === 0;
      const fd = openPart(held.at(-1)?.fd ?? root, part, make && (isLast ? make : 'folder'), here);
      held.push({ name: part, fd });
      if (!fstatSync(fd).isSymbolicLink()) continue;
      const target = linkOf(fd, here);
      if (++links > maxLinks) throw Object.assign(new Error(`ELOOP: ${path}`), { code: 'ELOOP', path });
      if (target.startsWith('/')) letGo();
      else {
        held.pop();
        closeFd(fd);
      }
      pending.push(...partsOf(target).reverse());
    }
    const where = `/${held.map(({ name }) => name).join('/')}`;
    const last = held.pop()?.fd ?? openPart(root, '.', undefined, '/');
    return { fd: last, path: where };
  } finally {
    letGo();
  }
}

const RESOLVE_NO_MAGICLINKS = 2;
const RESOLVE_NO_SYMLINKS = 4;
const ENOSYS = 38;
const how = new BigUint64Array(3);

/**
 * Opens a file of a tree through real folders only. Throws ELOOP when another process has put a symlink on the way or
 * in the file's place. The first `rootLength` characters of the path are the tree's own place, which only this process
 * can change, so symlinks there are followed. Close it with `closeFd`.
 */
export function openReal(path: string, rootLength: number, flags: number): number {
  const fd = openAt2(AT_FDCWD, path, flags);
  if (fd >= 0) return fd;
  if (koffi.errno() !== ELOOP || rootLength <= 0) throw fault('open', path);
  const root = openPath(path.slice(0, rootLength), O_DIRECTORY);
  try {
    const below = openAt2(root, path.slice(rootLength).replace(/^\/+/, '') || '.', flags);
    if (below < 0) throw fault('open', path);
    return below;
  } finally {
    closeFd(root);
  }
}

/**
 * Opens a regular file of a tree for reading, through real folders like `openReal`. Throws ELOOP when something else
 * was put in its place. `lookFirst`: check the type before opening (slower), since opening some devices has effects.
 */
export function openRealFile(path: string, rootLength: number, lookFirst: boolean): number {
  const found = openReal(path, rootLength, lookFirst ? O_PATH : O_NONBLOCK | O_NOCTTY);
  try {
    if (!isFile(found)) throw Object.assign(new Error(`ELOOP: ${path}`), { code: 'ELOOP', path });
    if (!lookFirst) return found;
  } catch (err) {
    closeFd(found);
    throw err;
  }
  const fd = fns.openat(AT_FDCWD, `/proc/self/fd/${found}`, O_CLOEXEC, 0);
  closeFd(found);
  if (fd < 0) throw fault('open', path);
  return fd;
}

const AT_EMPTY_PATH = 0x1000;
const STATX_TYPE = 1;
const type = new Uint16Array(128);

function isFile(fd: number): boolean {
  if (fns.statx(fd, '', AT_EMPTY_PATH, STATX_TYPE, type.buffer) !== 0) return fstatSync(fd).isFile();
  return ((type[14] as number) & S_IFMT) === S_IFREG;
}

function openAt2(folder: number, path: string, flags: number): number {
  how[0] = BigInt(flags | O_NOFOLLOW | O_CLOEXEC);
  how[2] = BigInt(RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
  const fd = calls.openat2(folder, cName(path), how, how.byteLength);
  // Linux before 5.6 lacks the call; no step can run beside us there either.
  if (fd < 0 && koffi.errno() === ENOSYS)
    return fns.openat(folder, cName(path), flags | O_NOFOLLOW | O_CLOEXEC, 0);
  return fd;
}

/** Opens a name in a folder; a symlink is opened itself. */
function openPart(folder: number, name: string, make: OpenOptions['make'], here: string): number {
  for (let tries = 0; ; tries++) {
    const fd = fns.openat(folder, cName(name), O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd >= 0) return fd;
    if (make === undefined || koffi.errno() !== ENOENT || tries >= maxTries) throw fault('open', here);
    const made =
      make === 'folder'
        ? fns.mkdirat(folder, cName(name), 0o755)
        : fns.mknodat(folder, cName(name), S_IFREG | 0o755, 0);
    if (made !== 0 && koffi.errno() !== EEXIST) throw fault('mkdir', here);
  }
}

function linkOf(fd: number, here: string): string {
  const buffer = Buffer.alloc(4096);
  const length = Number(fns.readlinkat(fd, '', buffer, buffer.length));
  if (length < 0) throw fault('readlink', here);
  return nameOf(buffer, 0, length);
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}
