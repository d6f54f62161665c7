/** Ends the daemon of a root that is another process. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoCode, fail } from '../errors/index.ts';
import { tryLock } from '../linux/index.ts';
import { daemonFolder } from './address.ts';

/**
 * Has the daemon that serves a root stop (SIGTERM), and waits until it has let go of the root; a signal that fires ends
 * the wait. Returns its process id, or undefined when no daemon serves the root. Throws `denied` when this user may not,
 * and `conflict` when the daemon is a process that is not seen from here, as in another container.
 */
export async function stopOtherDaemon(root: string, signal: AbortSignal): Promise<number | undefined> {
  const file = join(daemonFolder(root), 'pid');
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (err) {
    if (errnoCode(err) === 'ENOENT') return undefined;
    throw fail('denied', 'host', `${file} cannot be read (${errnoCode(err)})`, {
      cause: err,
      hint: 'Stop the daemon as the user who has started it, or as root.',
    });
  }
  try {
    if (tryLock(fd)) return undefined;
    const pid = Number(readFileSync(file, 'utf8'));
    if (!lockHolders(fstatSync(fd).ino).has(pid)) {
      throw fail('conflict', 'host', `the daemon of ${root} is not a process that is seen from here`, {
        hint: 'Stop it in the container, or on the machine, where it was started.',
      });
    }
    try {
      process.kill(pid, 'SIGTERM');
    } catch (err) {
      if (errnoCode(err) !== 'ESRCH') {
        throw fail('denied', 'host', `the daemon (pid ${pid}) cannot be stopped (${errnoCode(err)})`, {
          cause: err,
          hint: 'Stop it as the user who has started it, or as root.',
        });
      }
    }
    while (!tryLock(fd)) await sleep(50, undefined, { signal });
    return pid;
  } finally {
    closeSync(fd);
  }
}

/**
 * The processes that have a file locked as a whole, by the kernel's list: proc(5), /proc/locks. Files of other filesystems
 * may have the same number, and which filesystem it is has other names there than in stat(2).
 */
function lockHolders(inode: number): Set<number> {
  const holders = new Set<number>();
  for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
    const found = /FLOCK +\w+ +WRITE +(\d+) +\w+:\w+:(\d+) /.exec(line);
    if (Number(found?.[2]) === inode) holders.add(Number(found?.[1]));
  }
  return holders;
}
