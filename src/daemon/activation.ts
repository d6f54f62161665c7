/** Takes over the sockets that the service manager has opened for the daemon (sd_listen_fds(3)). */
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { fail } from '../errors/index.ts';
import { closeOnExec, idOutside } from '../linux/index.ts';

export interface ActivatedSocket {
  fd: number;
  /** systemd's `FileDescriptorName=`. */
  name: string;
}

/**
 * Takes the sockets that were passed to this process, as the environment says, at most once: the variables are removed,
 * and the descriptors are kept out of child processes. Throws `invalid` when the variables make no sense.
 */
export function takeActivatedSockets(env: NodeJS.ProcessEnv = process.env): ActivatedSocket[] {
  const { LISTEN_PID: pid, LISTEN_FDS: count, LISTEN_FDNAMES: names = '' } = env;
  if (count === undefined || (pid !== undefined && Number(pid) !== process.pid)) return [];
  delete env.LISTEN_PID;
  delete env.LISTEN_FDS;
  delete env.LISTEN_FDNAMES;
  if (!/^\d{1,3}$/.test(count))
    throw fail('invalid', 'host', `LISTEN_FDS=${JSON.stringify(count)} is no number`);
  const byPlace = names.split(':');
  return Array.from({ length: Number(count) }, (_, i) => {
    const fd = 3 + i;
    closeOnExec(fd);
    return { fd, name: byPlace[i] ?? '' };
  });
}

/**
 * The sockets that `fd://WHICH` means: all of them, or those of a name or number. Throws `not-found` when there are
 * none.
 */
export function chooseActivated(sockets: readonly ActivatedSocket[], which: string): ActivatedSocket[] {
  const found =
    which === '' ? sockets : sockets.filter(({ fd, name }) => name === which || `${fd}` === which);
  if (found.length > 0) return [...found];
  const names = sockets.map(({ fd, name }) => (name === '' ? `${fd}` : name)).join(', ');
  throw fail('not-found', 'host', `fd://${which}: the service manager passed no such socket`, {
    hint:
      sockets.length === 0
        ? 'fd:// is for socket activation: start the daemon through its systemd socket unit.'
        : `There are: ${names}.`,
  });
}

/** The path of a listening unix socket, from the kernel's table; undefined for other sockets. */
export function unixPath(fd: number): string | undefined {
  const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
  if (inode === undefined) return undefined;
  for (const line of readFileSync('/proc/net/unix', 'utf8').split('\n')) {
    const columns = /^\S+ \S+ \S+ \S+ \S+ \S+ +(\d+)(?: (.*))?$/.exec(line);
    if (columns?.[1] === inode) return columns[2] ?? '';
  }
  return undefined;
}

/** The group that owns a socket's file; root's when it has no file. */
export function groupOf(path: string | undefined): number {
  return idOutside('group', (path && statSync(path, { throwIfNoEntry: false })?.gid) || 0);
}
