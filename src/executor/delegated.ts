/**
 * The cgroup that was given to this process: systemd gives one to a unit with `Delegate=yes`, and its user may make groups
 * in it. https://systemd.io/CGROUP_DELEGATION
 */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { readText } from './failure.ts';

/** The group for this process itself: a group with others below it may have no processes. */
const own = 'drydock-main';

/**
 * The path, in a v2 tree, of the group in which this process may make others. It must have no other processes, for those
 * would have to be moved. This process is moved to a group of its own there, and the controllers are passed on. Undefined
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
      if (readFileSync(join(dir, 'cgroup.procs'), 'utf8').trim() !== String(process.pid)) return undefined;
      mkdirSync(join(dir, own), { recursive: true });
      moveTo(join(dir, own), dir);
    } else probe(dir);
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

/** Moves this process, or leaves nothing behind. */
function moveTo(group: string, from: string): void {
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(process.pid));
  } catch (err) {
    rmdirSync(group);
    throw err;
  }
  probe(from);
}

/** Throws where no group can be made. */
function probe(dir: string): void {
  const probed = join(dir, `drydock-probe-${process.pid}`);
  mkdirSync(probed);
  rmdirSync(probed);
}
