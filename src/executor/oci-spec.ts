/**
 * The runtime configuration (config.json) of a step. Pure.
 * https://github.com/opencontainers/runtime-spec/blob/main/config.md
 */

import { noEdits } from '../cdi/index.ts';
import { fail } from '../errors/index.ts';
import type { Confinement } from './confinement.ts';
import { type DeviceRule, deviceHooks, withDeviceEnv } from './device-edits.ts';
import type { OciDevice } from './devices.ts';
import type { Rlimit } from './limits.ts';
import type { Remap } from './remap.ts';
import type { ExecSpec } from './types.ts';
import type { ProcessUser } from './users.ts';

export interface OciMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

interface SpecInput {
  spec: ExecSpec;
  /** The folder that is the container's root. */
  rootPath: string;
  user: ProcessUser;
  capabilities: string[];
  confinement: Confinement;
  /** The path of the container's cgroup; undefined: none is made. */
  cgroup: string | undefined;
  /** Makes the cgroup the root of the cgroups that the container sees (a cgroup namespace). */
  cgroupNamespace: boolean;
  /** The member `linux.resources`, without the devices. */
  resources: object;
  rlimits: Rlimit[];
  /** The size of /dev/shm in bytes, for a step that says none; undefined: 64 MiB. */
  usualShm?: number;
  oomScore: number;
  /** The devices besides the usual ones. */
  devices: OciDevice[];
  /** What may be done with devices, besides what every container may. */
  deviceRules: DeviceRule[];
  /** Gives the process a terminal. */
  terminal: boolean;
  /**
   * A folder with a sysfs that is there. In a user namespace one can be mounted only in a network namespace that belongs to
   * the user namespace. Undefined: the runtime mounts one.
   */
  sysfs: string | undefined;
  /** Leaves the container among this machine's processes, with the machine's /proc. */
  hostPids: boolean;
  /** The user namespace of the container; undefined: this process's own. */
  remap?: Remap;
  /** Has the runtime make a network namespace, in which there is nothing but a loopback. */
  emptyNetwork: boolean;
}

/** The member `process` of the runtime's configuration. */
export interface ProcessSpec {
  terminal: boolean;
  user: { uid: number; gid: number; additionalGids: number[] };
  args: string[];
  env: string[];
  cwd: string;
  capabilities: Partial<Record<'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient', string[]>>;
  rlimits: Rlimit[];
  oomScoreAdj: number;
  noNewPrivileges: boolean;
  apparmorProfile?: string;
  selinuxLabel?: string;
}

/** The member `process` for a step. Throws `invalid` for text that is not UTF-8, which JSON cannot hold. */
export function processSpec({
  spec,
  user,
  capabilities,
  rlimits,
  oomScore,
  terminal,
  confinement: { apparmorProfile, labels },
}: Pick<
  SpecInput,
  'spec' | 'user' | 'capabilities' | 'rlimits' | 'oomScore' | 'terminal' | 'confinement'
>): ProcessSpec {
  for (const text of [...spec.args, ...spec.env, spec.cwd]) refuseBytes(text);
  const { devices = noEdits, security } = spec;
  const env = [...spec.env, ...(spec.secretEnv ?? [])];
  return {
    terminal,
    user: {
      uid: user.uid,
      gid: user.gid,
      additionalGids: [...new Set([...user.groups, ...devices.additionalGids])],
    },
    args: spec.args,
    env: devices.env.length === 0 ? env : withDeviceEnv(env, devices),
    cwd: spec.cwd,
    capabilities: {
      bounding: capabilities,
      effective: capabilities,
      permitted: capabilities,
      // With these a user other than root keeps them, too.
      ...(security === 'insecure' ? { inheritable: capabilities, ambient: capabilities } : {}),
    },
    rlimits,
    oomScoreAdj: oomScore,
    noNewPrivileges: false,
    ...(apparmorProfile === undefined ? {} : { apparmorProfile }),
    ...(labels === undefined ? {} : { selinuxLabel: labels.process }),
  };
}

const masked = [
  ...['/proc/acpi', '/proc/asound', '/proc/interrupts', '/proc/kcore', '/proc/keys', '/proc/latency_stats'],
  ...['/proc/sched_debug', '/proc/scsi', '/proc/timer_list', '/proc/timer_stats'],
  ...['/sys/devices/virtual/powercap', '/sys/firmware'],
];
const readonly = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const defaultShm = 64 << 20;

/** The runtime's configuration, with the system's own mounts. */
export function ociSpec(
  input: SpecInput,
): { mounts: OciMount[]; root: { path: string; readonly: boolean } } & Record<string, unknown> {
  const { spec, cgroup } = input;
  const insecure = spec.security === 'insecure';
  const namespaces = [...(input.hostPids ? [] : ['pid']), 'ipc', 'uts', 'mount'];
  if (input.remap !== undefined) namespaces.push('user');
  // What is mounted of the machine's /proc stays as it is.
  const guarded = (paths: string[]) =>
    input.hostPids ? paths.filter((path) => !path.startsWith('/proc/')) : paths;
  if (input.cgroupNamespace) namespaces.push('cgroup');
  if (input.emptyNetwork) namespaces.push('network');
  const { devices: edits = noEdits } = spec;
  const { seccomp, labels } = input.confinement;
  const hooks = deviceHooks(edits);
  const netDevices = edits.netDevices.map(({ hostInterfaceName, name }) => [hostInterfaceName, { name }]);
  return {
    ociVersion: '1.0.2',
    process: processSpec(input),
    root: { path: input.rootPath, readonly: spec.root.readonly },
    hostname: spec.hostname || 'buildkitsandbox',
    mounts: systemMounts(spec, input),
    linux: {
      namespaces: namespaces.map((type) => ({ type })),
      ...(input.remap && {
        uidMappings: [{ containerID: 0, hostID: input.remap.users.start, size: input.remap.users.count }],
        gidMappings: [{ containerID: 0, hostID: input.remap.groups.start, size: input.remap.groups.count }],
      }),
      resources: {
        devices: [{ allow: insecure, access: 'rwm' }, ...input.deviceRules],
        ...input.resources,
      },
      ...(input.devices.length > 0 ? { devices: input.devices } : {}),
      ...(cgroup === undefined ? {} : { cgroupsPath: cgroup }),
      ...(insecure ? {} : { maskedPaths: guarded(masked), readonlyPaths: guarded(readonly) }),
      ...(seccomp === undefined ? {} : { seccomp }),
      ...(labels === undefined ? {} : { mountLabel: labels.mount }),
      ...(edits.intelRdt === undefined ? {} : { intelRdt: edits.intelRdt }),
      ...(netDevices.length === 0 ? {} : { netDevices: Object.fromEntries(netDevices) }),
    },
    ...(hooks === undefined ? {} : { hooks }),
  };
}

/** Throws `invalid` for a text that the runtime would read as another one. */
export function refuseBytes(text: string): void {
  if (text.isWellFormed()) return;
  throw fail('invalid', 'exec', `what a step runs with must be UTF-8: ${JSON.stringify(text)}`, {
    hint: 'Write such a name in the command itself, for example with printf or a wildcard.',
  });
}

function systemMounts(
  spec: ExecSpec,
  { sysfs, hostPids, usualShm = defaultShm }: Pick<SpecInput, 'sysfs' | 'hostPids' | 'usualShm'>,
): OciMount[] {
  const ro = spec.security === 'insecure' ? 'rw' : 'ro';
  const mount = (destination: string, type: string, source: string, options: string[]) => ({
    destination,
    type,
    source,
    options,
  });
  return [
    hostPids
      ? mount('/proc', 'bind', '/proc', ['rbind', 'rprivate'])
      : mount('/proc', 'proc', 'proc', ['nosuid', 'noexec', 'nodev']),
    mount('/dev', 'tmpfs', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/dev/pts', 'devpts', 'devpts', [
      ...['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    ]),
    mount('/dev/shm', 'tmpfs', 'shm', [
      ...['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${spec.shmSize || usualShm}`],
    ]),
    mount('/dev/mqueue', 'mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
    sysfs !== undefined
      ? mount('/sys', 'bind', sysfs, ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev', 'ro'])
      : mount('/sys', 'sysfs', 'sysfs', ['nosuid', 'noexec', 'nodev', ro]),
    mount('/sys/fs/cgroup', 'cgroup', 'cgroup', ['nosuid', 'noexec', 'nodev', 'relatime', ro]),
  ];
}
