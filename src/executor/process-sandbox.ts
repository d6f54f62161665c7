/**
 * Steps without a process sandbox: where a container may not mount a /proc of its own, steps are among the processes of
 * this machine and see its /proc. No pid namespace ends their processes then. They are found by their mounts: each
 * container has files of its bundle mounted.
 */

import { readdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readText } from '../linux/index.ts';

/** How often the machine is searched for processes of a container that has ended. */
const rounds = 100;

/** The part of the path of a bundle that tells it from all others: `RUN/exec/STEP`. */
function markOf(bundle: string): string {
  return `/${basename(dirname(dirname(bundle)))}/exec/${basename(bundle)}/`;
}

/** How often it is looked whether the first process of a container still runs, in ms. */
const interval = 25;

/**
 * Ends the processes that a container's first one has left behind, as soon as that has ended: the runtime goes on as long
 * as they have its output. `isOver` says that the runtime has ended. `pidFile` is where it writes the first one's pid.
 */
export async function endWithFirst(
  bundle: string,
  { pidFile, runtime, isOver }: { pidFile: string; runtime: number; isOver: () => boolean },
): Promise<void> {
  let first = '';
  while (!isOver()) {
    await sleep(interval);
    first ||= readText(pidFile).trim();
    if (first === '' || isRunning(first)) continue;
    return endProcesses(bundle, runtime);
  }
}

function isRunning(pid: string): boolean {
  const state = /^State:\s*(\S)/m.exec(readText(`/proc/${pid}/status`))?.[1];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** Waits until a process that was killed has ended. The first one of a pid namespace ends after all others of it. */
export async function endOf(pid: number): Promise<void> {
  for (let round = 0; round < rounds && isRunning(`${pid}`); round++) await sleep(1 + round);
}

/** Kills the processes of a container, until there are none. `but`: the runtime, which is to tell the exit code. */
export async function endProcesses(bundle: string, but?: number): Promise<void> {
  const mark = markOf(bundle);
  for (let round = 0; round < rounds; round++) {
    const found = processesWith((mountinfo) => mountinfo.includes(mark)).filter((pid) => pid !== but);
    if (found.length === 0) return;
    for (const pid of found) tryKill(pid);
    await sleep(2 + round);
  }
}

/** The name of the file that a step sees as /etc/hosts: by it the steps of an owner are found when that has died. */
export function hostsName(owner: string): string {
  return `hosts.${owner}`;
}

/**
 * Kills the processes that the steps of an owner have left, who was killed. The kernel lets only those be killed that are
 * root in that owner's user namespace.
 */
export function sweepProcesses(owner: string): void {
  for (const pid of processesWith((mountinfo) => mountinfo.includes(`/${hostsName(owner)}`))) tryKill(pid);
}

/** Kills a process and those below it, the lowest last: they cannot make others meanwhile. */
export function killTree(pid: number): void {
  const children = () =>
    readText(`/proc/${pid}/task/${pid}/children`).trim().split(' ').filter(Boolean).map(Number);
  const below = children();
  tryKill(pid);
  for (const child of below) killTree(child);
}

function processesWith(matches: (mountinfo: string) => boolean): number[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    return pid > 0 && pid !== process.pid && matches(readText(`/proc/${name}/mountinfo`)) ? [pid] : [];
  });
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}
