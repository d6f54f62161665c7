/** Makes the parts of the runtime's configuration that a step has for its CDI devices. */
import { lstatSync } from 'node:fs';
import type { CdiMount, ContainerEdits, DeviceNode } from '../cdi/index.ts';
import { errnoCode, fail } from '../errors/index.ts';
import type { MountFlag } from './assemble.ts';
import type { OciDevice } from './devices.ts';
import type { ExecMount } from './types.ts';

/** A rule of the devices cgroup. */
export interface DeviceRule {
  allow: boolean;
  type?: string;
  major?: number;
  minor?: number;
  access: string;
}

/** The nodes in /dev and what may be done with them. `owner` has the nodes that the file gives to nobody. */
export function deviceNodes(
  edits: ContainerEdits,
  owner: { uid: number; gid: number },
): { devices: OciDevice[]; rules: DeviceRule[] } {
  const devices = new Map<string, OciDevice>();
  const rules: DeviceRule[] = [];
  for (const node of edits.deviceNodes) {
    const device = deviceOf(node, owner);
    devices.set(device.path, device);
    const { type, major, minor } = device;
    if (type === 'b' || type === 'c') {
      rules.push({ allow: true, type, major, minor, access: node.permissions ?? 'rwm' });
    }
  }
  return { devices: [...devices.values()], rules };
}

/** Fills in what the file leaves out from the host's node. Throws `unavailable` when that is not there. */
function deviceOf(node: DeviceNode, owner: { uid: number; gid: number }): OciDevice {
  const { path, hostPath = path, type, major, minor, fileMode, uid, gid } = node;
  const isWhole = type !== undefined && (major !== undefined || type === 'p');
  const host = hostNode(hostPath);
  if (host === undefined && !isWhole) {
    throw fail('unavailable', 'exec', `the device's node ${hostPath} is not there, or is no device`, {
      hint: 'Load its driver, or make its CDI file anew.',
    });
  }
  if (host !== undefined && type !== undefined && !isWhole && type !== host.type) {
    throw fail('invalid', 'exec', `${hostPath} is a device of type ${host.type}, not ${type}`);
  }
  return {
    path,
    type: type ?? host?.type ?? 'c',
    ...(type === 'p' ? {} : { major: major ?? host?.major ?? 0, minor: minor ?? host?.minor ?? 0 }),
    fileMode: fileMode ?? host?.mode,
    uid: uid ?? owner.uid,
    gid: gid ?? owner.gid,
  };
}

function hostNode(
  path: string,
): { type: 'b' | 'c' | 'p'; major: number; minor: number; mode: number } | undefined {
  try {
    const found = lstatSync(path);
    const type = found.isBlockDevice()
      ? 'b'
      : found.isCharacterDevice()
        ? 'c'
        : found.isFIFO()
          ? 'p'
          : undefined;
    if (type === undefined) return undefined;
    // As glibc puts device numbers together.
    const major = Math.floor(found.rdev / 256) & 0xfff;
    const minor = (found.rdev & 0xff) | (Math.floor(found.rdev / 4096) & 0xfff00);
    return { type, major, minor, mode: found.mode & 0o7777 };
  } catch (err) {
    if (errnoCode(err) === 'ENOENT' || errnoCode(err) === 'ENOTDIR') return undefined;
    throw err;
  }
}

const flags: readonly MountFlag[] = ['nosuid', 'nodev', 'noexec'];
/** Options of binds that every mount here has anyway. */
const usual = ['bind', 'rbind', 'private', 'rprivate', 'slave', 'rslave', 'rw', 'suid', 'dev', 'exec'];

/** The mounts; a later one at the same place takes the place of the earlier one. Throws `unsupported`. */
export function deviceMounts({ mounts }: ContainerEdits): ExecMount[] {
  return [...new Map(mounts.map((mount) => [mount.containerPath, mountOf(mount)])).values()];
}

function mountOf({ hostPath, containerPath: dest, type, options }: CdiMount): ExecMount {
  if (type === 'tmpfs') {
    const value = (name: string) =>
      options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
    const mode = value('mode');
    return {
      dest,
      readonly: options.includes('ro'),
      source: {
        type: 'tmpfs',
        size: Number(value('size') ?? 0) || 0,
        mode: mode ? Number.parseInt(mode, 8) : undefined,
      },
    };
  }
  if (type !== undefined && !['bind', 'none'].includes(type)) {
    throw fail(
      'unsupported',
      'exec',
      `the device's mount at ${dest} is of the type ${type}: want bind or tmpfs`,
    );
  }
  const other = options.find(
    (option) => option !== 'ro' && !usual.includes(option) && !flags.includes(option as MountFlag),
  );
  if (other !== undefined) {
    throw fail(
      'unsupported',
      'exec',
      `the device's mount at ${dest} has the option ${other}, which is not supported`,
    );
  }
  return {
    dest,
    readonly: options.includes('ro'),
    flags: flags.filter((flag) => options.includes(flag)),
    source: { type: 'host', path: hostPath },
  };
}

/** The member `hooks` of the runtime's configuration; undefined when there are none. */
export function deviceHooks({ hooks }: ContainerEdits): Record<string, object[]> | undefined {
  const found: Record<string, object[]> = {};
  for (const { hookName, ...hook } of hooks) found[hookName] = [...(found[hookName] ?? []), hook];
  return hooks.length === 0 ? undefined : found;
}

/** Variables with those of devices, which win. */
export function withDeviceEnv(env: readonly string[], { env: more }: ContainerEdits): string[] {
  const names = new Set(more.map((entry) => entry.slice(0, entry.indexOf('=') + 1)));
  return [...env.filter((entry) => !names.has(entry.slice(0, entry.indexOf('=') + 1))), ...more];
}
