/** Reads the table of one worker in a buildkitd.toml, `[worker.oci]` or `[worker.containerd]`. */
import { fail } from '../errors/index.ts';
import { type NetworkOptions, type NetworkSetting, networkOptions } from '../network/index.ts';
import { type Platform, parsePlatform } from '../oci/index.ts';
import type { GcRule, Space } from '../upkeep/index.ts';
import { ramInBytes } from '../words/index.ts';
import type { Keys } from './buildkitd-keys.ts';
import type { TomlReader } from './toml-reader.ts';

export interface WorkerConfig {
  enabled?: boolean;
  labels?: Record<string, string>;
  snapshotter?: string;
  platforms?: Platform[];
  maxParallelism?: number;
  /** Undefined: Drydock's own policy; empty: nothing is removed from the cache by itself. */
  gc?: GcRule[];
  /** The OCI runtime. */
  binary?: string;
  cgroupParent?: string;
  apparmorProfile?: string;
  selinux?: boolean;
  /** Says that the process is rootless. */
  rootless?: boolean;
  noProcessSandbox?: boolean;
  /** The networks of steps. */
  network?: NetworkOptions;
}

const gc: Keys = {
  gc: 'used',
  gckeepstorage: 'used',
  reservedSpace: 'used',
  maxUsedSpace: 'used',
  minFreeSpace: 'used',
  gcpolicy: {
    '[]': {
      all: 'used',
      filters: 'used',
      keepDuration: 'used',
      keepBytes: 'used',
      reservedSpace: 'used',
      maxUsedSpace: 'used',
      minFreeSpace: 'used',
    },
  },
};

/** The keys that both workers have. */
export const workerKeys: Keys = {
  ...gc,
  enabled: 'used',
  labels: { '*': 'used' },
  snapshotter: 'used',
  platforms: 'used',
  'max-parallelism': 'used',
  defaultCgroupParent: 'used',
  'apparmor-profile': 'used',
  selinux: 'used',
  networkMode: 'used',
  cniBinaryPath: 'used',
  cniConfigPath: 'used',
  cniPoolSize: 'used',
  bridgeName: { unless: [''], why: 'each step has a link of its own, and there is no bridge' },
  bridgeSubnet: 'used',
};

/** Reads the table. Throws `invalid` for values of the wrong type. */
export function workerAt(at: TomlReader, kind: 'oci' | 'containerd'): WorkerConfig {
  const path = ['worker', kind] as const;
  const parallelism = at.number(...path, 'max-parallelism');
  return {
    enabled: at.bool(...path, 'enabled'),
    snapshotter: at.text(...path, 'snapshotter'),
    labels: Object.fromEntries(
      at.names(...path, 'labels').map((name) => [name, at.text(...path, 'labels', name) ?? '']),
    ),
    platforms: at.list(...path, 'platforms')?.map(parsePlatform),
    maxParallelism: parallelism !== undefined && parallelism > 0 ? parallelism : undefined,
    gc: gcAt(at, path),
    binary: kind === 'oci' ? at.text(...path, 'binary') || undefined : undefined,
    cgroupParent: at.text(...path, 'defaultCgroupParent') || undefined,
    apparmorProfile: at.text(...path, 'apparmor-profile') || undefined,
    selinux: at.bool(...path, 'selinux'),
    rootless: at.bool(...path, 'rootless'),
    noProcessSandbox: at.bool(...path, 'noProcessSandbox'),
    network: networkAt(at, path),
  };
}

/** The settings of the worker's network; their names in a message are the file's. */
function networkAt(at: TomlReader, path: readonly string[]): NetworkOptions {
  const keys: Partial<Record<NetworkSetting, string>> = {
    'network-mode': 'networkMode',
    'network-subnet': 'bridgeSubnet',
    'network-cni-config': 'cniConfigPath',
    'network-cni-plugins': 'cniBinaryPath',
    'network-pool-size': 'cniPoolSize',
  };
  const textOf = (setting: NetworkSetting) => {
    const key = keys[setting];
    const value = key === undefined ? undefined : at.textOrNumber(...path, key);
    // buildkitd's 0: its own choice.
    return value === undefined || (key === 'cniPoolSize' && value === 0) ? undefined : String(value);
  };
  return networkOptions(textOf, (setting) => at.name(...path, keys[setting] ?? setting));
}

function gcAt(at: TomlReader, path: readonly string[]): GcRule[] | undefined {
  if (at.bool(...path, 'gc') === false) return [];
  const rules = at.tables(...path, 'gcpolicy').map((rule): GcRule => {
    return {
      all: rule.bool('all'),
      filters: rule.list('filters'),
      unusedFor: rule.duration('keepDuration'),
      reservedSpace: spaceAt(rule, 'reservedSpace') ?? spaceAt(rule, 'keepBytes'),
      maxUsedSpace: spaceAt(rule, 'maxUsedSpace'),
      minFreeSpace: spaceAt(rule, 'minFreeSpace'),
    };
  });
  if (rules.length > 0) return rules;
  const limits: GcRule = {
    reservedSpace: spaceAt(at, ...path, 'reservedSpace'),
    maxUsedSpace: spaceAt(at, ...path, 'maxUsedSpace'),
    minFreeSpace: spaceAt(at, ...path, 'minFreeSpace'),
  };
  if (Object.values(limits).some((space) => space !== undefined)) return policyWithin(limits);
  // Its name before BuildKit 0.17.
  const reservedSpace = spaceAt(at, ...path, 'gckeepstorage');
  return reservedSpace === undefined ? undefined : policyWithin({ reservedSpace });
}

/**
 * buildkitd's own policy within limits: it removes first the records that are made again most easily, then old ones,
 * then all.
 */
export function policyWithin(limits: GcRule): GcRule[] {
  const hour = 3_600_000;
  const easy = ['type==source.local', 'type==exec.cachemount', 'type==source.git.checkout'];
  return [
    { filters: easy, unusedFor: 48 * hour, maxUsedSpace: 512e6 },
    { unusedFor: 60 * 24 * hour, ...limits },
    limits,
    { all: true, ...limits },
  ];
}

function spaceAt(at: TomlReader, ...path: string[]): Space | undefined {
  const value = at.textOrNumber(...path);
  return value === undefined || value === '' ? undefined : parseSpace(String(value), at.name(...path));
}

/**
 * A number of bytes with or without a unit (`512MB`, in steps of 1024), or a share of the disk (`10%`). Throws
 * `invalid`.
 */
export function parseSpace(text: string, what: string): Space {
  const percent = /^(\d{1,3})%$/.exec(text)?.[1];
  if (percent !== undefined) return { percent: Number(percent) };
  const bytes = ramInBytes(text);
  if (bytes === undefined) {
    throw fail('invalid', 'client', `${what} is no amount of space: ${JSON.stringify(text)}`, {
      hint: 'Write bytes, 512MB or 10%.',
    });
  }
  return bytes;
}
