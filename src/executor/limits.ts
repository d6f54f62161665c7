/** Resource limits of a step: ulimits and cgroup limits, as far as this machine lets them be set. Pure. */
import { fail } from '../errors/index.ts';
import { ramText } from '../words/index.ts';
import type { ExecSpec } from './types.ts';

export interface Rlimit {
  type: string;
  soft: number;
  hard: number;
}

/** The limits on open files for a step that sets none: systemd's, which programs are made for. */
const openFiles = { soft: 1024, hard: 524_288 };

/** The most processes and threads of a step, where the machine has room for four times as many. */
const defaultPids = 8192;

/** The usual limit on processes, from the machine's own limits (kernel.pid_max, kernel.threads-max). */
export function pidsFor(machine: readonly number[]): number {
  const most = Math.min(...machine.filter((count) => count > 0));
  return Math.min(defaultPids, Math.max(64, Math.floor(most / 4)));
}

/**
 * The oom_score_adj of a step: when the machine runs out of memory, the kernel ends a process of a step rather than
 * this process or others of the machine.
 */
export function oomScoreFor(own: number): number {
  return Math.min(1000, own + 500);
}

/** Names of /proc/PID/limits (proc_pid_limits(5)) by ulimit name. */
const procNames: Record<string, string> = {
  core: 'Max core file size',
  cpu: 'Max cpu time',
  data: 'Max data size',
  fsize: 'Max file size',
  locks: 'Max file locks',
  memlock: 'Max locked memory',
  msgqueue: 'Max msgqueue size',
  nice: 'Max nice priority',
  nofile: 'Max open files',
  nproc: 'Max processes',
  rss: 'Max resident set',
  rtprio: 'Max realtime priority',
  rttime: 'Max realtime timeout',
  sigpending: 'Max pending signals',
  stack: 'Max stack size',
};

/**
 * The hard limits of this process, from the text of /proc/self/limits: it may not give away more than those without
 * CAP_SYS_RESOURCE.
 */
export function hardLimits(text: string): Map<string, number> {
  const limits = new Map<string, number>();
  for (const [name, label] of Object.entries(procNames)) {
    const hard = new RegExp(`^${label}\\s+\\S+\\s+(\\d+|unlimited)`, 'm').exec(text)?.[1];
    if (hard !== undefined) limits.set(name, hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard));
  }
  return limits;
}

/**
 * The rlimits of a step. A limit above the one in `most` is lowered to it, and its name is in `lowered`. -1 means no
 * limit; JavaScript's largest safe number stands for it.
 */
export function rlimitsFor(
  asked: ExecSpec['ulimits'],
  most: ReadonlyMap<string, number>,
): { rlimits: Rlimit[]; lowered: string[] } {
  const limits = new Map<string, Rlimit>();
  const lowered: string[] = [];
  const put = (name: string, soft: number, hard: number) => {
    const top = Math.min(most.get(name) ?? Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER);
    const value = (limit: number) => Math.min(limit < 0 ? Number.MAX_SAFE_INTEGER : limit, top);
    const type = `RLIMIT_${name.toUpperCase()}`;
    const limit = { type, soft: value(soft), hard: value(hard) };
    limits.set(type, limit);
    return limit.hard === hard || (hard < 0 && top === Number.MAX_SAFE_INTEGER);
  };
  put('nofile', openFiles.soft, openFiles.hard);
  for (const { name, soft, hard } of asked) if (!put(name, soft, hard)) lowered.push(name);
  return { rlimits: [...limits.values()], lowered };
}

/** The ulimits that a step sets, and the usual ones for those that it does not set. */
export function withUsual(asked: ExecSpec['ulimits'], usual: ExecSpec['ulimits'] = []): ExecSpec['ulimits'] {
  if (usual.length === 0) return asked;
  const names = new Set(asked.map(({ name }) => name));
  return [...usual.filter(({ name }) => !names.has(name)), ...asked];
}

/** The period of a quota on processor time where none is asked for, in µs: the kernel's own. */
const usualPeriod = 100_000;

/**
 * The limits of a step within the operator's: `memory` in bytes, `cpus` in processors that it may keep busy. What the
 * step asked for beyond them is lowered, and named in `lowered`.
 */
export function capResources(
  asked: ExecSpec['resources'],
  { memory, cpus }: { memory?: number; cpus?: number },
): { resources: ExecSpec['resources']; lowered: string[] } {
  if (memory === undefined && cpus === undefined) return { resources: asked, lowered: [] };
  const resources = { ...asked };
  const lowered: string[] = [];
  if (memory !== undefined && (resources.memory ?? Number.POSITIVE_INFINITY) > memory) {
    if (resources.memory !== undefined) lowered.push(`memory (${ramText(resources.memory)})`);
    // Swap stays what the step asked for, on top of its memory.
    if ((resources.memorySwap ?? 0) > 0 && resources.memory !== undefined) {
      resources.memorySwap = memory + ((resources.memorySwap as number) - resources.memory);
    }
    resources.memory = memory;
  }
  if (cpus !== undefined) {
    const period = resources.cpuPeriod ?? usualPeriod;
    // The kernel takes no quota below 1 ms.
    const most = Math.max(1000, Math.floor(period * cpus));
    const quota = (resources.cpuQuota ?? 0) > 0 ? (resources.cpuQuota as number) : undefined;
    if (quota === undefined || quota > most) {
      if (quota !== undefined) lowered.push(`CPU time (${quota} of ${period} µs)`);
      Object.assign(resources, { cpuPeriod: period, cpuQuota: most });
    }
  }
  return { resources, lowered };
}

/**
 * The member `linux.resources` for the limits that were asked for, and the controllers that are missing for some of
 * them. `pids` holds for every step where the machine can set it; 0 means no limit.
 */
export function limitsFor(
  asked: ExecSpec['resources'],
  controllers: ReadonlySet<string>,
  pids = 0,
): { resources: object; missing: string[] } {
  const missing: string[] = [];
  const resources: Record<string, object> = {};
  const put = (name: string, controller: string, values: Record<string, number | string | undefined>) => {
    const set = Object.entries(values).filter(([, v]) => v !== undefined && v !== 0 && v !== '');
    if (set.length === 0) return;
    if (controllers.has(controller)) resources[name] = { ...resources[name], ...Object.fromEntries(set) };
    else missing.push(controller);
  };
  if (controllers.has('pids')) put('pids', 'pids', { limit: pids });
  if (asked !== undefined) {
    put('memory', 'memory', { limit: asked.memory, swap: asked.memorySwap });
    put('cpu', 'cpu', { shares: asked.cpuShares, period: asked.cpuPeriod, quota: asked.cpuQuota });
    put('cpu', 'cpuset', { cpus: asked.cpusetCpus, mems: asked.cpusetMems });
  }
  return { resources, missing };
}

/**
 * Checks that a step asks only for processors and memory nodes that there are. `online` are the lists of those, as
 * `/sys/devices/system/{cpu,node}/online` has them; an empty one is not held against the step. Throws `invalid`.
 */
export function checkProcessors(asked: ExecSpec['resources'], online: { cpus: string; mems: string }): void {
  const check = (what: string, wanted: string | undefined, there: string) => {
    const known = membersOf(there);
    const missing = [...membersOf(wanted ?? '')].filter((member) => known.size > 0 && !known.has(member));
    if (missing.length === 0) return;
    throw fail('invalid', 'exec', `this machine has no ${what} ${missing.slice(0, 8).join(', ')}`, {
      hint: `It has ${there.trim()}.`,
    });
  };
  check('CPU', asked?.cpusetCpus, online.cpus);
  check('memory node', asked?.cpusetMems, online.mems);
}

/** The members of a list such as `0-2,4`; those of a text that is none are left out. */
function membersOf(list: string): Set<number> {
  const members = new Set<number>();
  for (const part of list.split(',')) {
    const [, from, to = from] = /^\s*(\d{1,4})(?:\s*-\s*(\d{1,4}))?\s*$/.exec(part) ?? [];
    for (let member = Number(from); member <= Number(to); member++) members.add(member);
  }
  return members;
}
