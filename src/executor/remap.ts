/**
 * Steps of a root daemon in a user namespace of their own (`userns-remap`): root in a step is an ordinary user of the
 * machine. Files keep their owners on the disk; the mounts of a step are mapped (idmapped mounts), so that they show
 * owners of the namespace.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { errnoCode, fail } from '../errors/index.ts';
import { readText } from '../linux/index.ts';

import type { ProcessUser } from './users.ts';

/** A range of users or groups of the machine, which are 0, 1 … in the namespace. */
interface IdRange {
  start: number;
  count: number;
}

export interface Remap {
  users: IdRange;
  groups: IdRange;
}

/** A namespace with these users, by a descriptor. */
export interface OpenRemap extends Remap {
  fd: number;
}

/** The fewest users with which usual images work. */
const fewest = 65_536;

/**
 * The ranges of a user in /etc/subuid and /etc/subgid. Throws `not-found` for one who has none and `invalid` for ranges
 * that are too short.
 *
 *     rangesOf('drydock') // { users: { start: 100000, count: 65536 }, groups: … }
 */
export function rangesOf(name: string, read: (path: string) => string = readText): Remap {
  const id = new RegExp(`^${RegExp.escape(name)}:[^:]*:(\\d+):`, 'm').exec(read('/etc/passwd'))?.[1];
  const rangeIn = (file: string): IdRange => {
    for (const line of read(file).split('\n')) {
      const [who = '', start = '', count = ''] = line.split(':');
      if ((who !== name && who !== id) || !/^\d+$/.test(start) || !/^\d+$/.test(count)) continue;
      if (Number(count) >= fewest) return { start: Number(start), count: Number(count) };
      throw fail('invalid', 'host', `${file} gives ${name} ${count} ids, and steps need ${fewest}`);
    }
    throw fail('not-found', 'host', `userns-remap: ${name} has no range in ${file}`, {
      hint: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${name}`,
    });
  };
  return { users: rangeIn('/etc/subuid'), groups: rangeIn('/etc/subgid') };
}

/** The user and the group of the machine who are root in the namespace. */
export function ownerOf({ users, groups }: Remap): { uid: number; gid: number } {
  return { uid: users.start, gid: groups.start };
}

/** Where a user or group of the namespace is among those of the machine. */
export function mapped(id: number, { start }: IdRange): number {
  return start + id;
}

/** Throws `unsupported` for a user or group that the namespace does not have. */
export function checkMapped({ users, groups }: Remap, user: ProcessUser): void {
  if (user.uid < users.count && [user.gid, ...user.groups].every((gid) => gid < groups.count)) return;
  throw fail('unsupported', 'exec', `user ${user.uid} or its groups are not in the user namespace of steps`, {
    hint: 'Give the user of userns-remap a longer range in /etc/subuid and /etc/subgid.',
  });
}

/** The user namespace of an executor's steps. It is made for the first of them. */
export class StepNamespace {
  readonly #remap: Remap;
  #opening: Promise<OpenRemap> | undefined;

  constructor(remap: Remap) {
    this.#remap = remap;
  }

  /** The namespace, by a descriptor. Throws `unsupported` where the kernel makes none. */
  open(): Promise<OpenRemap> {
    this.#opening ??= makeNamespace(this.#remap);
    return this.#opening;
  }

  close(): void {
    this.#opening?.then(
      ({ fd }) => closeSync(fd),
      () => {},
    );
    this.#opening = undefined;
  }
}

async function makeNamespace(remap: Remap): Promise<OpenRemap> {
  // A process that waits in it until it is open.
  const child = spawn('unshare', ['--user', 'sh', '-c', 'echo; read -r _'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const ended = once(child, 'exit').catch(() => {});
  try {
    await Promise.race([
      once(child.stdout, 'data'),
      ended.then(() => Promise.reject(new Error('unshare ended'))),
    ]);
    const map = ({ start, count }: IdRange) => `0 ${start} ${count}\n`;
    writeFileSync(`/proc/${child.pid}/uid_map`, map(remap.users));
    writeFileSync(`/proc/${child.pid}/gid_map`, map(remap.groups));
    return { ...remap, fd: openSync(`/proc/${child.pid}/ns/user`, 'r') };
  } catch (cause) {
    throw fail(
      'unsupported',
      'host',
      `userns-remap: no user namespace can be made (${errnoCode(cause) ?? cause})`,
      {
        cause,
        hint: 'sysctl user.max_user_namespaces must be above 0.',
      },
    );
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}
