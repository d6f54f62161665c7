/** Resource limits of a step: ulimits and cgroup limits, as far as this machine lets them be set. Pure. */
import type { ExecSpec } from './types.ts';

export interface Rlimit {
  type: string;
  soft: number;
  hard: number;
}

/** Open files unless the step sets its own: systemd's limits, which programs are made for. */
const openFiles = { soft: 1024, hard: 524_288 };

/** Most processes and threads of a step, where the machine has room for four times as many. */
const defaultPids = 8192;

/** The usual limit, from what the machine allows at most (kernel.pid_max, kernel.threads-max). */
export function pidsFor(machine: readonly number[]): number {
  const most = Math.min(...machine.filter((count) => count > 0));
  return Math.min(defaultPids, Math.max(64, Math.floor(most / 4)));
}

/**
 * A step's oom_score_adj: when the machine has no more memory, the kernel ends something of a step and neither this
 * process nor others of the machine.
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

/** This process's hard limits, from the text of /proc/self/limits: what it may give away without CAP_SYS_RESOURCE. */
export function hardLimits(text: string): Map<string, number> {
  const limits = new Map<string, number>();
  for (const [name, label] of Object.entries(procNames)) {
    const hard = new RegExp(`^${label}\\s+\\S+\\s+(\\d+|unlimited)`, 'm').exec(text)?.[1];
    if (hard !== undefined) limits.set(name, hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard));
  }
  return limits;
}

/**
 * The rlimits of a step. What is more than `most` allows is lowered to that, and told in `lowered`, by name. -1 is no
 * limit, for which JavaScript's largest safe number stands.
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

/**
 * `linux.resources` from what was asked for, and what cannot be set for want of a controller. `pids` holds for every
 * step where the machine can set it; 0 is no limit.
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
