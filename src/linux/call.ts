/** Calls libc's C functions and turns their errors into Node's. */
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { printable } from '../errors/index.ts';
import { bytesOf } from './names.ts';

/** C's prototypes. */
const prototypes = {
  lgetxattr: 'int64_t lgetxattr(const char *path, const char *name, void *value, size_t size)',
  lsetxattr: 'int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)',
  lremovexattr: 'int lremovexattr(const char *path, const char *name)',
  llistxattr: 'int64_t llistxattr(const char *path, void *list, size_t size)',
  mknod: 'int mknod(const char *path, uint32_t mode, uint64_t dev)',
  mount:
    'int mount(const char *source, const char *target, const char *fstype, unsigned long flags, const char *data)',
  umount2: 'int umount2(const char *target, int flags)',
  flock: 'int flock(int fd, int operation)',
  utimensat: 'int utimensat(int dirfd, const char *path, const void *times, int flags)',
  futimens: 'int futimens(int fd, const void *times)',
  pipe2: 'int pipe2(void *fds, int flags)',
  socketpair: 'int socketpair(int domain, int type, int protocol, void *fds)',
  ioctl: 'int ioctl(int fd, unsigned long request, void *arg)',
  lseek: 'int64_t lseek(int fd, int64_t offset, int whence)',
  copy_file_range:
    'int64_t copy_file_range(int fdIn, void *offIn, int fdOut, void *offOut, size_t len, unsigned int flags)',
  posix_openpt: 'int posix_openpt(int flags)',
  grantpt: 'int grantpt(int fd)',
  unlockpt: 'int unlockpt(int fd)',
  ptsname_r: 'int ptsname_r(int fd, void *name, size_t size)',
  getsockopt: 'int getsockopt(int fd, int level, int name, void *value, void *length)',
  socket: 'int socket(int domain, int type, int protocol)',
  bind: 'int bind(int fd, const void *address, uint32_t size)',
  listen: 'int listen(int fd, int backlog)',
  recv: 'int64_t recv(int fd, void *data, size_t length, int flags)',
  if_nametoindex: 'uint32_t if_nametoindex(const char *name)',
  sendto:
    'int64_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t size)',
  openat: 'int openat(int dirfd, const char *path, int flags, uint32_t mode)',
  close: 'int close(int fd)',
  unlinkat: 'int unlinkat(int dirfd, const char *path, int flags)',
  renameat: 'int renameat(int fromFd, const char *from, int toFd, const char *to)',
  mkdirat: 'int mkdirat(int dirfd, const char *path, uint32_t mode)',
  mknodat: 'int mknodat(int dirfd, const char *path, uint32_t mode, uint64_t dev)',
  readlinkat: 'int64_t readlinkat(int dirfd, const char *path, void *buffer, size_t size)',
  unshare: 'int unshare(int flags)',
  setns: 'int setns(int fd, int type)',
  chdir: 'int chdir(const char *path)',
  fchdir: 'int fchdir(int fd)',
  chroot: 'int chroot(const char *path)',
  setfsuid: 'int setfsuid(uint32_t uid)',
  setfsgid: 'int setfsgid(uint32_t gid)',
  capget: 'int capget(void *header, void *data)',
  capset: 'int capset(void *header, const void *data)',
  umask: 'uint32_t umask(uint32_t mask)',
  mallopt: 'int mallopt(int param, int value)',
  malloc_trim: 'int malloc_trim(size_t pad)',
  madvise: 'int madvise(uint64_t address, size_t length, int advice)',
  posix_spawn:
    'int posix_spawn(void *pid, const char *path, const void *actions, const void *attributes, const char **argv, const char **env)',
  posix_spawnattr_init: 'int posix_spawnattr_init(void *attributes)',
  posix_spawnattr_setflags: 'int posix_spawnattr_setflags(void *attributes, int16_t flags)',
  posix_spawnattr_setsigdefault: 'int posix_spawnattr_setsigdefault(void *attributes, const void *signals)',
  posix_spawnattr_setsigmask: 'int posix_spawnattr_setsigmask(void *attributes, const void *signals)',
  posix_spawn_file_actions_init: 'int posix_spawn_file_actions_init(void *actions)',
  posix_spawn_file_actions_destroy: 'int posix_spawn_file_actions_destroy(void *actions)',
  posix_spawn_file_actions_adddup2: 'int posix_spawn_file_actions_adddup2(void *actions, int fd, int newFd)',
  posix_spawn_file_actions_addopen:
    'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, uint32_t mode)',
  posix_spawn_file_actions_addchdir_np:
    'int posix_spawn_file_actions_addchdir_np(void *actions, const char *path)',
  waitpid: 'int waitpid(int pid, void *status, int options)',
  statx: 'int statx(int dirfd, const char *path, int flags, unsigned int mask, void *buf)',
};

/** System calls that older libcs have no function for, by their numbers, which are the same on all machines. */
const numbered = {
  openTree: [428, 'const char *path, unsigned int flags'],
  moveMount: [429, 'const char *from, int toFd, const char *to, unsigned int flags'],
  openat2: [437, 'const char *path, const void *how, size_t size'],
  mountSetattr: [442, 'const char *path, unsigned int flags, const void *attributes, size_t size'],
} as const;

const libc = koffi.load('libc.so.6');
export const fns = {} as Record<keyof typeof prototypes, (...args: unknown[]) => number>;
// Functions are looked up when first called: a program needs few of them, and each look-up slows its start.
for (const [name, prototype] of Object.entries(prototypes)) {
  Object.defineProperty(fns, name, {
    configurable: true,
    get() {
      const value = libc.func(prototype);
      Object.defineProperty(fns, name, { value });
      return value;
    },
  });
}

/** Each function takes a file descriptor first. */
export const calls = {} as Record<keyof typeof numbered, (fd: number, ...args: unknown[]) => number>;
for (const [name, [number, parameters]] of Object.entries(numbered)) {
  Object.defineProperty(calls, name, {
    configurable: true,
    get() {
      const syscall = libc.func(`int64_t syscall(int64_t number, int fd, ${parameters})`);
      const value = (...args: unknown[]) => Number(syscall(number, ...args));
      Object.defineProperty(calls, name, { value });
      return value;
    },
  });
}

/** For openat(2) and similar calls: relative to the working folder. */
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;

/** The form of a name for a C function. */
export function cName(name: string): string | Buffer {
  return name.isWellFormed() ? name : Buffer.concat([bytesOf(name), Buffer.of(0)]);
}

/** The error of the call that failed just now, in the form of Node's own functions. */
export function fault(syscall: string, path?: string): NodeJS.ErrnoException {
  return faultOf(koffi.errno(), syscall, path);
}

/** The error of a number of errno(3), in the same form. */
export function faultOf(errno: number, syscall: string, path?: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(-errno);
  const err: NodeJS.ErrnoException = new Error(
    `${code}: ${syscall}${path === undefined ? '' : ` '${printable(path)}'`} failed`,
  );
  err.errno = -errno;
  err.code = code;
  err.syscall = syscall;
  err.path = path;
  return err;
}
