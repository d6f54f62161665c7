/**
 * The runtime configuration (config.json) of a step. Pure.
 * https://github.com/opencontainers/runtime-spec/blob/main/config.md
 */

import type { ExecSpec } from './types.ts';
import type { ProcessUser } from './users.ts';

export interface OciMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

export interface SpecInput {
  spec: ExecSpec;
  /** Folder that is the container's root. */
  rootPath: string;
  user: ProcessUser;
  capabilities: string[];
  seccomp: object | undefined;
  /** Mounts beside the system's own, in order. */
  mounts: OciMount[];
  /** Path of the container's cgroup; undefined: none is made. */
  cgroup: string | undefined;
  /** `linux.resources` but for devices. */
  resources: object;
  /** Most open files this process may grant. */
  maxFiles: number;
}

const masked = [
  ...['/proc/acpi', '/proc/asound', '/proc/interrupts', '/proc/kcore', '/proc/keys', '/proc/latency_stats'],
  ...['/proc/sched_debug', '/proc/scsi', '/proc/timer_list', '/proc/timer_stats'],
  ...['/sys/devices/virtual/powercap', '/sys/firmware'],
];
const readonly = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** Soft and hard limit of open files unless the step sets its own: systemd's, which programs are made for. */
const openFiles = { soft: 1024, hard: 524_288 };

const defaultShm = 64 << 20;

export function ociSpec(input: SpecInput): object {
  const { spec, user, capabilities, cgroup } = input;
  const insecure = spec.security === 'insecure';
  const namespaces = ['pid', 'ipc', 'uts', 'mount', 'cgroup'];
  if (spec.network === 'none') namespaces.push('network');
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.groups },
      args: spec.args,
      env: [...spec.env, ...(spec.secretEnv ?? [])],
      cwd: spec.cwd,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      rlimits: rlimits(spec, input.maxFiles),
      noNewPrivileges: false,
    },
    root: { path: input.rootPath, readonly: spec.root.readonly },
    hostname: spec.hostname || 'buildkitsandbox',
    mounts: [...systemMounts(spec), ...input.mounts],
    linux: {
      namespaces: namespaces.map((type) => ({ type })),
      resources: { devices: [{ allow: insecure, access: 'rwm' }], ...input.resources },
      ...(cgroup === undefined ? {} : { cgroupsPath: cgroup }),
      ...(insecure ? {} : { maskedPaths: masked, readonlyPaths: readonly }),
      ...(input.seccomp === undefined || insecure ? {} : { seccomp: input.seccomp }),
    },
  };
}

function systemMounts(spec: ExecSpec): OciMount[] {
  const ro = spec.security === 'insecure' ? 'rw' : 'ro';
  const mount = (destination: string, type: string, source: string, options: string[]) => ({
    destination,
    type,
    source,
    options,
  });
  return [
    mount('/proc', 'proc', 'proc', ['nosuid', 'noexec', 'nodev']),
    mount('/dev', 'tmpfs', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/dev/pts', 'devpts', 'devpts', [
      ...['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    ]),
    mount('/dev/shm', 'tmpfs', 'shm', [
      ...['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${spec.shmSize || defaultShm}`],
    ]),
    mount('/dev/mqueue', 'mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
    mount('/sys', 'sysfs', 'sysfs', ['nosuid', 'noexec', 'nodev', ro]),
    mount('/sys/fs/cgroup', 'cgroup', 'cgroup', ['nosuid', 'noexec', 'nodev', 'relatime', ro]),
  ];
}

function rlimits(spec: ExecSpec, maxFiles: number): { type: string; soft: number; hard: number }[] {
  const limits = new Map<string, { type: string; soft: number; hard: number }>();
  const hard = Math.min(openFiles.hard, maxFiles);
  limits.set('RLIMIT_NOFILE', { type: 'RLIMIT_NOFILE', soft: Math.min(openFiles.soft, hard), hard });
  for (const { name, soft, hard } of spec.ulimits) {
    const type = `RLIMIT_${name.toUpperCase()}`;
    limits.set(type, { type, soft: limitValue(soft), hard: limitValue(hard) });
  }
  return [...limits.values()];
}

/** -1 is RLIM_INFINITY; runc reads an unsigned number, of which JavaScript's largest safe one is as good as infinite. */
function limitValue(value: number): number {
  return value < 0 ? Number.MAX_SAFE_INTEGER : value;
}

/** `linux.resources` from what was asked for, and what cannot be set for want of a controller. */
export function limitsFor(
  asked: ExecSpec['resources'],
  controllers: ReadonlySet<string>,
): { resources: object; missing: string[] } {
  const missing: string[] = [];
  const resources: Record<string, object> = {};
  const put = (name: string, controller: string, values: Record<string, number | string | undefined>) => {
    const set = Object.entries(values).filter(([, v]) => v !== undefined && v !== 0 && v !== '');
    if (set.length === 0) return;
    if (controllers.has(controller)) resources[name] = { ...resources[name], ...Object.fromEntries(set) };
    else missing.push(controller);
  };
  if (asked !== undefined) {
    put('memory', 'memory', { limit: asked.memory, swap: asked.memorySwap });
    put('cpu', 'cpu', { shares: asked.cpuShares, period: asked.cpuPeriod, quota: asked.cpuQuota });
    put('cpu', 'cpuset', { cpus: asked.cpusetCpus, mems: asked.cpusetMems });
  }
  return { resources, missing };
}
