/** Reads the table of one worker in a buildkitd.toml, `[worker.oci]` or `[worker.containerd]`. */
import { type NetworkOptions, type NetworkSetting, networkOptions } from '../network/index.ts';
import { type Platform, parsePlatform } from '../oci/index.ts';
import { type GcSettings, gcAt, gcKeys } from './buildkitd-gc.ts';
import type { Keys } from './buildkitd-keys.ts';
import type { TomlReader } from './toml-reader.ts';

export interface WorkerConfig {
  enabled?: boolean;
  labels?: Record<string, string>;
  snapshotter?: string;
  platforms?: Platform[];
  maxParallelism?: number;
  /** What is said of the cache's collection. */
  gc?: GcSettings;
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

/** The keys that both workers have. */
export const workerKeys: Keys = {
  ...gcKeys,
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
