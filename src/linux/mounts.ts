/**
 * Mounts by file descriptor, and a mount namespace that only a file descriptor keeps. They affect the calling thread
 * alone, so worker threads use them. Linux 5.12.
 */
import { AT_FDCWD, calls, fault, fns } from './call.ts';
import { MS_PRIVATE, MS_REC, mount } from './libc.ts';
import { closeFd, openPath } from './open-in.ts';

const CLONE_NEWNS = 0x00020000;
const O_CLOEXEC = 0o2000000;
const AT_EMPTY_PATH = 0x1000;
const AT_RECURSIVE = 0x8000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = O_CLOEXEC;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const MOVE_MOUNT_T_EMPTY_PATH = 0x40;

/** The attributes of a mount. */
export const MOUNT_ATTR_RDONLY = 1;
export const MOUNT_ATTR_NOSUID = 2;
export const MOUNT_ATTR_NODEV = 4;
export const MOUNT_ATTR_NOEXEC = 8;

/**
 * Runs `body` in a new mount namespace, a private copy of the present one, and returns a file descriptor of it, which
 * the caller closes. The namespace and its mounts vanish with the last process and descriptor in it.
 */
export function inNewMountNamespace(body: () => void): number {
  const own = openNamespace();
  const root = openPath('/');
  const cwd = openPath('.');
  try {
    if (fns.unshare(CLONE_NEWNS) !== 0) throw fault('unshare');
    const mask = fns.umask(0o022);
    try {
      mount('none', '/', '', MS_REC | MS_PRIVATE, '');
      body();
      return openNamespace();
    } finally {
      fns.umask(mask);
      const isBack =
        fns.setns(own, CLONE_NEWNS) === 0 &&
        fns.fchdir(root) === 0 &&
        fns.chroot('.') === 0 &&
        fns.fchdir(cwd) === 0;
      // A thread that sees other files than all others must not continue. This ends the thread alone.
      if (!isBack) process.exit(1);
    }
  } finally {
    for (const fd of [own, root, cwd]) closeFd(fd);
  }
}

function openNamespace(): number {
  const path = '/proc/thread-self/ns/mnt';
  const fd = fns.openat(AT_FDCWD, path, O_CLOEXEC, 0);
  if (fd < 0) throw fault('open', path);
  return fd;
}

/** Makes a detached copy of the mounts at or below an open file or folder (`rbind`), as a file descriptor. */
export function cloneMount(fd: number): number {
  const tree = calls.openTree(fd, '', OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
  if (tree < 0) throw fault('open_tree');
  return tree;
}

/** Adds attributes to a detached tree of mounts. */
export function restrictMount(tree: number, attributes: number): void {
  const words = Buffer.alloc(32);
  words.writeBigUInt64LE(BigInt(attributes), 0);
  if (calls.mountSetattr(tree, '', AT_EMPTY_PATH | AT_RECURSIVE, words, words.length) !== 0) {
    throw fault('mount_setattr');
  }
}

const MOUNT_ATTR_IDMAP = 0x00100000;

/**
 * Maps the owners of a detached tree of mounts: what belongs to a user on the disk belongs to the user, here, of whom the
 * user namespace of the descriptor has that number. Linux 5.12, and on each filesystem later; EINVAL where it is not.
 */
export function mapMount(tree: number, namespace: number): void {
  const words = Buffer.alloc(32);
  words.writeBigUInt64LE(BigInt(MOUNT_ATTR_IDMAP), 0);
  words.writeBigUInt64LE(BigInt(namespace), 24);
  if (calls.mountSetattr(tree, '', AT_EMPTY_PATH | AT_RECURSIVE, words, words.length) !== 0) {
    throw fault('mount_setattr');
  }
}

/** Attaches a detached tree to an open file or folder. */
export function attachMount(tree: number, target: number): void {
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  if (calls.moveMount(tree, '', target, '', flags) !== 0) throw fault('move_mount');
}

/** Changes the working folder (a path or a file descriptor) of this thread and those that share it. */
export function changeFolder(to: string | number): void {
  if ((typeof to === 'string' ? fns.chdir(to) : fns.fchdir(to)) !== 0) throw fault('chdir', String(to));
}
