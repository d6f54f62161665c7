/** The control groups of containers: where they can be made, which limits they take, and how they are removed. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoCode } from '../errors/index.ts';
import { passOnControllers } from './cgroup-root.ts';
import { delegatedGroup } from './delegated.ts';

export interface CgroupHost {
  /**
   * The groups that the runtime will use: one v2 tree, v1 controllers (`hybrid` counts as v1), or none, for nothing can be
   * written to.
   */
  kind: 'v2' | 'v1' | 'none';
  /** The mount points of all trees in which the runtime makes groups. */
  trees: string[];
  /** The group, in these trees, below which groups can be made; '' where that is the root. */
  base: string;
  /** The v2 tree beside v1's, on a hybrid host. */
  unified?: string;
  /** The controllers that limits can be set with. */
  controllers: Set<string>;
  /** Why there are no groups. */
  reason?: string;
}

/** Looks at how this host mounts cgroups, and whether groups can be made in them. */
export function detectCgroups(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): CgroupHost {
  const mounts = parseMounts(mountinfo);
  // The last one hides those before it.
  const top = mounts.findLast((m) => m.point === '/sys/fs/cgroup');
  if (top?.type === 'cgroup2') {
    const { point } = top;
    const host = usable({ kind: 'v2', trees: [point], base: '', controllers: readControllers(point) });
    if (host.kind !== 'none') return { ...host, controllers: passOnControllers(point) };
    const base = delegatedGroup(point);
    if (base === undefined) return host;
    const controllers = readControllers(join(point, base), 'cgroup.subtree_control');
    return { kind: 'v2', trees: [point], base, controllers };
  }
  const trees = mounts.filter((m) => m.type === 'cgroup' && m.point.startsWith('/sys/fs/cgroup/'));
  const controllers = new Set(trees.flatMap((m) => m.options));
  // runc insists on the devices controller.
  if (!controllers.has('devices')) {
    return {
      kind: 'none',
      trees: [],
      base: '',
      controllers: new Set(),
      reason: 'no cgroup controllers are mounted',
    };
  }
  // On a hybrid host runc joins the v2 tree too.
  const unified = mounts.filter((m) => m.type === 'cgroup2').map((m) => m.point);
  const points = [...trees.map((m) => m.point), ...unified];
  return usable({ kind: 'v1', trees: points, base: '', unified: unified[0], controllers });
}

function usable(host: CgroupHost): CgroupHost {
  const name = `drydock-probe-${process.pid}`;
  for (const tree of host.trees) {
    try {
      mkdirSync(join(tree, name));
      rmdirSync(join(tree, name));
    } catch (err) {
      return {
        kind: 'none',
        trees: [],
        base: '',
        controllers: new Set(),
        reason: `${tree} cannot be written to (${errnoCode(err) ?? err})`,
      };
    }
  }
  return host;
}

function readControllers(group: string, file = 'cgroup.controllers'): Set<string> {
  try {
    return new Set(readFileSync(join(group, file), 'utf8').trim().split(' ').filter(Boolean));
  } catch {
    return new Set();
  }
}

function parseMounts(text: string): { point: string; type: string; options: string[] }[] {
  return text.split('\n').flatMap((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const point = left.split(' ')[4];
    const [type, , options = ''] = right.split(' ');
    return point === undefined || type === undefined ? [] : [{ point, type, options: options.split(',') }];
  });
}

/** The processes in a group and its subgroups, in all trees. */
function processesIn(trees: readonly string[], group: string): number[] {
  const pids = new Set<number>();
  for (const tree of trees) {
    for (const dir of groupsBelow(join(tree, group))) {
      for (const line of read(join(dir, 'cgroup.procs')).split('\n')) if (line !== '') pids.add(Number(line));
    }
  }
  return [...pids];
}

/** Kills all processes in a group and its subgroups. */
export function killGroup(trees: readonly string[], group: string): void {
  for (const pid of processesIn(trees, group)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended meanwhile.
    }
  }
}

/** Removes a group and its subgroups; false while processes are in it. */
export function removeGroup(trees: readonly string[], group: string): boolean {
  let gone = true;
  for (const tree of trees) {
    const top = join(tree, group);
    // Most have no subgroups.
    if (removeFolder(top)) continue;
    for (const dir of groupsBelow(top)) if (!removeFolder(dir)) gone = false;
  }
  return gone;
}

/** False when the group is not empty. */
function removeFolder(dir: string): boolean {
  try {
    rmdirSync(dir);
    return true;
  } catch (err) {
    return errnoCode(err) === 'ENOENT';
  }
}

/** A group's folder and those below it, deepest first. */
function groupsBelow(dir: string): string[] {
  if (!existsSync(dir)) return [];
  const below: string[] = [];
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    if (entry.isDirectory()) below.push(...groupsBelow(join(dir, entry.name)));
  }
  return [...below, dir];
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Waits until the processes of a container are gone, and removes its cgroup. Returns whether they are gone. */
export async function clearGroup(host: CgroupHost, group: string): Promise<boolean> {
  for (let wait = 1; wait < 2000; wait *= 2) {
    if (removeGroup(host.trees, group)) return true;
    killGroup(host.trees, group);
    await sleep(wait);
  }
  return false;
}
