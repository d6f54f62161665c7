/**
 * The cgroup that was given to this process: systemd gives one to a unit with `Delegate=yes`, and its user may make groups
 * in it. https://systemd.io/CGROUP_DELEGATION
 */

import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errnoCode } from '../errors/index.ts';
import { readText } from '../linux/index.ts';

/** The group for this process itself: a group with others below it may have no processes. */
const own = 'drydock-main';

/**
 * The path, in a v2 tree, of the group in which this process may make others. It must have no processes but
 * this one and those below it, for all must be moved: to a group of their own there. The controllers are passed on. Undefined
 * when there is no such group.
 *
 *     delegatedGroup('/sys/fs/cgroup') // '/user.slice/user-1000.slice/user@1000.service/app.slice/drydock.service'
 */
export function delegatedGroup(tree: string, membership = readText('/proc/self/cgroup')): string | undefined {
  const path = /^0::(\/.*)$/m.exec(membership)?.[1];
  if (path === undefined || path === '/') return undefined;
  const group = basename(path) === own ? dirname(path) : path;
  const dir = join(tree, group);
  try {
    if (group === path) {
      if (!processesIn(dir).every(isOurs)) return undefined;
      mkdirSync(join(dir, own), { recursive: true });
      moveAll(dir, join(dir, own));
    }
    probe(dir);
  } catch {
    return undefined;
  }
  for (const name of readText(join(dir, 'cgroup.controllers')).trim().split(' ')) {
    try {
      if (name !== '') writeFileSync(join(dir, 'cgroup.subtree_control'), `+${name}`);
    } catch {
      // One that cannot be passed on is not among those with which limits can be set.
    }
  }
  return group;
}

function processesIn(group: string): number[] {
  return readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
}

/** Whether a process is this one or below it. */
function isOurs(pid: number): boolean {
  for (let at = pid; at > 1; at = Number(/^PPid:\s*(\d+)/m.exec(readText(`/proc/${at}/status`))?.[1] ?? 0)) {
    if (at === process.pid) return true;
  }
  return false;
}

/** Moves this process, whose new children are then there too, and those that it has; or leaves nothing behind. */
function moveAll(from: string, to: string): void {
  const move = (pid: number) => writeFileSync(join(to, 'cgroup.procs'), String(pid));
  try {
    move(process.pid);
  } catch (err) {
    rmdirSync(to);
    throw err;
  }
  for (const pid of processesIn(from)) {
    try {
      move(pid);
    } catch (err) {
      // It has ended meanwhile.
      if (errnoCode(err) !== 'ESRCH') throw err;
    }
  }
}

/** Throws where no group can be made. */
function probe(dir: string): void {
  const probed = join(dir, `drydock-probe-${process.pid}`);
  mkdirSync(probed);
  rmdirSync(probed);
}
