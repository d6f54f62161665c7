/**
 * The Container Device Interface (CDI): files in which vendors describe what a container needs for a device.
 * https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md
 */

/** One file. */
export interface CdiSpec {
  /** `vendor.com/class` */
  kind: string;
  annotations: Readonly<Record<string, string>>;
  devices: readonly CdiDevice[];
  /** What goes with each of the devices. */
  edits: ContainerEdits;
}

export interface CdiDevice {
  name: string;
  annotations: Readonly<Record<string, string>>;
  edits: ContainerEdits;
}

/** What a container gets for a device. */
export interface ContainerEdits {
  /** Variables as `K=V`. */
  env: readonly string[];
  deviceNodes: readonly DeviceNode[];
  mounts: readonly CdiMount[];
  hooks: readonly CdiHook[];
  additionalGids: readonly number[];
  /** `linux.intelRdt` of the runtime spec, as the file has it. */
  intelRdt?: Readonly<Record<string, unknown>>;
  netDevices: readonly { hostInterfaceName: string; name: string }[];
}

/** A device node. What is left out is taken from the host's node. */
export interface DeviceNode {
  path: string;
  hostPath?: string;
  /** `b`, `c`, `u` or `p` */
  type?: string;
  major?: number;
  minor?: number;
  fileMode?: number;
  /** Of the devices cgroup: `r`, `w`, `m`. */
  permissions?: string;
  uid?: number;
  gid?: number;
}

export interface CdiMount {
  hostPath: string;
  containerPath: string;
  options: readonly string[];
  type?: string;
}

/** A program that the runtime runs at a point of the container's life, outside of the container or in it. */
export interface CdiHook {
  hookName: HookName;
  path: string;
  args?: readonly string[];
  env?: readonly string[];
  /** s */
  timeout?: number;
}

export const hookNames = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const;
export type HookName = (typeof hookNames)[number];

/** The edits that change nothing. */
export const noEdits: ContainerEdits = {
  env: [],
  deviceNodes: [],
  mounts: [],
  hooks: [],
  additionalGids: [],
  netDevices: [],
};

/** The edits of several devices, one after the other; of what there can be one only, the last one counts. */
export function joinEdits(list: readonly ContainerEdits[]): ContainerEdits {
  const all = <K extends Exclude<keyof ContainerEdits, 'intelRdt'>>(name: K) =>
    list.flatMap((edits) => edits[name] as readonly unknown[]);
  const intelRdt = list.findLast((edits) => edits.intelRdt !== undefined)?.intelRdt;
  const joined = {
    env: all('env'),
    deviceNodes: all('deviceNodes'),
    mounts: all('mounts'),
    hooks: all('hooks'),
    additionalGids: all('additionalGids'),
    netDevices: all('netDevices'),
  } as unknown as ContainerEdits;
  return intelRdt === undefined ? joined : { ...joined, intelRdt };
}
