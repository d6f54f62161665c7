/** Starts programs by posix_spawn(3), and asks for their ends. */
import { faultOf, fns } from './call.ts';

/** The largest of glibc's structs for it, with room to spare: posix_spawnattr_t has 336 bytes. */
const structSize = 1024;
/** spawn.h */
const POSIX_SPAWN_SETSIGDEF = 4;
const POSIX_SPAWN_SETSIGMASK = 8;
/** The size of a sigset_t. */
const signalSetSize = 128;
const O_RDWR = 2;
const WNOHANG = 1;

let attributes: Buffer | undefined;

/** A program gets no signal ignored or blocked, whatever Node has of them. */
function usualSignals(): Buffer {
  if (attributes !== undefined) return attributes;
  attributes = Buffer.alloc(structSize);
  fns.posix_spawnattr_init(attributes);
  fns.posix_spawnattr_setsigdefault(attributes, Buffer.alloc(signalSetSize, 0xff));
  fns.posix_spawnattr_setsigmask(attributes, Buffer.alloc(signalSetSize));
  fns.posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  return attributes;
}

/** What a program is given. */
interface Given {
  env: Readonly<Record<string, string>>;
  /** Its file descriptors 0, 1 and so on, in this process; 'ignore' is /dev/null. */
  fds: readonly (number | 'ignore')[];
}

/**
 * Starts a program in the folder / and returns its pid, for which `exitOf` must be asked until it tells. It inherits no
 * other file descriptors, as all of Node's and ours are closed then.
 *
 * The kernel lends it this process's memory until the program is there, and copies nothing. Node's own `spawn` forks:
 * copying the page tables of a daemon with 200 MB takes 5 ms each time, in which its main thread stands still.
 *
 * Throws a Node-style error (ENOENT, EAGAIN …).
 */
export function spawnProgram(path: string, argv: readonly string[], { env, fds }: Given): number {
  const pid = Buffer.alloc(4);
  const actions = Buffer.alloc(structSize);
  const check = (errno: number) => {
    if (errno !== 0) throw faultOf(errno, 'posix_spawn', path);
  };
  check(fns.posix_spawn_file_actions_init(actions));
  try {
    for (const [i, fd] of fds.entries()) {
      if (fd === 'ignore') check(fns.posix_spawn_file_actions_addopen(actions, i, '/dev/null', O_RDWR, 0));
      else check(fns.posix_spawn_file_actions_adddup2(actions, fd, i));
    }
    startIn(actions, '/', check);
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    check(fns.posix_spawn(pid, path, actions, usualSignals(), [...argv, null], [...variables, null]));
  } finally {
    fns.posix_spawn_file_actions_destroy(actions);
  }
  return pid.readInt32LE(0);
}

/** glibc 2.28 cannot: a program begins in this process's folder there. */
function startIn(actions: Buffer, folder: string, check: (errno: number) => void): void {
  let change: typeof fns.posix_spawn_file_actions_addchdir_np;
  try {
    change = fns.posix_spawn_file_actions_addchdir_np;
  } catch {
    return;
  }
  check(change(actions, folder));
}

/** The exit code of a program whose end somebody else in this process has waited for, and taken. */
const taken = 255;

/**
 * The exit code of a program that was started here, 128+n for signal n; undefined while it runs. Once it is told, the
 * pid may be another program's.
 */
export function exitOf(pid: number): number | undefined {
  const status = Buffer.alloc(4);
  const found = fns.waitpid(pid, status, WNOHANG);
  if (found === 0) return undefined;
  if (found < 0) return taken;
  const word = status.readInt32LE(0);
  const signal = word & 0x7f;
  return signal === 0 ? (word >> 8) & 0xff : 128 + signal;
}
