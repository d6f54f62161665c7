/**
 * buildkitd.toml, as far as it means something here.
 * https://github.com/moby/buildkit/blob/master/docs/buildkitd.toml.md has its keys.
 */
import { parse, TomlDate, type TomlTable, type TomlValue } from 'smol-toml';
import { fail } from '../errors/error.ts';
import { nearest } from '../errors/nearest.ts';
import type { HostCertificates } from '../registry/certificates.ts';

/** What of a buildkitd.toml, or of buildkitd's flags, Drydock acts on. */
export interface BuildkitdConfig {
  root?: string;
  debug?: boolean;
  logFormat?: 'text' | 'json';
  entitlements?: string[];
  addresses?: string[];
  /** Owner group of the socket. */
  group?: string;
  tls?: { cert?: string; key?: string; ca?: string };
  history?: { maxEntries?: number /** ms */; maxAge?: number };
  oci?: WorkerConfig;
  containerd?: WorkerConfig & { address?: string; namespace?: string };
  insecureRegistries?: string[];
  /** Domain → its mirrors, first come first asked. */
  registryMirrors?: Record<string, string[]>;
  registryCertificates?: Record<string, HostCertificates>;
}

export interface WorkerConfig {
  enabled?: boolean;
  labels?: Record<string, string>;
  snapshotter?: string;
}

export interface ReadConfig {
  config: BuildkitdConfig;
  /** What was not understood, or has no effect, a sentence each. */
  warnings: string[];
}

/** `used` is acted upon, `idle` is accepted without effect; a table holds its keys, `*` stands for any name. */
type Keys = { [name: string]: 'used' | 'idle' | Keys };

const gc: Keys = {
  gc: 'idle',
  gckeepstorage: 'idle',
  reservedSpace: 'idle',
  maxUsedSpace: 'idle',
  minFreeSpace: 'idle',
  gcpolicy: 'idle',
};
const worker: Keys = {
  ...gc,
  enabled: 'used',
  labels: { '*': 'used' },
  snapshotter: 'used',
  platforms: 'idle',
  'apparmor-profile': 'idle',
  selinux: 'idle',
  'max-parallelism': 'idle',
  defaultCgroupParent: 'idle',
  networkMode: 'idle',
  cniBinaryPath: 'idle',
  cniConfigPath: 'idle',
  cniPoolSize: 'idle',
  bridgeName: 'idle',
  bridgeSubnet: 'idle',
};

const known: Keys = {
  root: 'used',
  debug: 'used',
  trace: 'idle',
  'insecure-entitlements': 'used',
  provenanceEnvDir: 'idle',
  log: { format: 'used' },
  dns: { nameservers: 'idle', options: 'idle', searchDomains: 'idle' },
  grpc: {
    address: 'used',
    debugAddress: 'idle',
    securityDescriptor: 'idle',
    uid: 'idle',
    gid: 'used',
    tls: { cert: 'used', key: 'used', ca: 'used' },
  },
  otel: { socketPath: 'idle' },
  cdi: { disabled: 'idle', specDirs: 'idle', autoAllowed: 'idle' },
  history: { maxAge: 'used', maxEntries: 'used' },
  worker: {
    oci: {
      ...worker,
      rootless: 'idle',
      noProcessSandbox: 'idle',
      binary: 'idle',
      proxySnapshotterPath: 'idle',
      'stargz-snapshotter': { '*': 'idle' },
    },
    containerd: {
      ...worker,
      address: 'used',
      namespace: 'used',
      rootless: 'idle',
      runtime: { name: 'idle', path: 'idle', options: { '*': 'idle' } },
    },
  },
  registry: {
    '*': {
      mirrors: 'used',
      http: 'used',
      insecure: 'used',
      ca: 'used',
      keypair: { key: 'used', cert: 'used' },
    },
  },
  frontend: { '*': { enabled: 'idle', allowedRepositories: 'idle' } },
  system: { platformsCacheMaxAge: 'idle' },
};

/** Throws `invalid` when the text is no TOML, or a value is of the wrong type. `file` is for messages. */
export function readBuildkitdToml(text: string, file: string): ReadConfig {
  let table: TomlTable;
  try {
    table = parse(text);
  } catch (cause) {
    const first = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw fail('invalid', 'client', `${file} is no TOML: ${first}`, { cause });
  }
  const warnings: string[] = [];
  checkKeys(table, known, [], (message) => warnings.push(`${file}: ${message}`));
  const at = reader(table, file);
  const config: BuildkitdConfig = {
    root: at.text('root'),
    debug: at.bool('debug'),
    logFormat: at.text('log', 'format') === 'json' ? 'json' : undefined,
    entitlements: at.list('insecure-entitlements'),
    addresses: at.list('grpc', 'address'),
    group: at.number('grpc', 'gid')?.toString(),
    tls: at.has('grpc', 'tls')
      ? {
          cert: at.text('grpc', 'tls', 'cert'),
          key: at.text('grpc', 'tls', 'key'),
          ca: at.text('grpc', 'tls', 'ca'),
        }
      : undefined,
    history: { maxEntries: at.number('history', 'maxEntries'), maxAge: at.duration('history', 'maxAge') },
    oci: workerAt(at, 'oci'),
    containerd: {
      ...workerAt(at, 'containerd'),
      address: at.text('worker', 'containerd', 'address'),
      namespace: at.text('worker', 'containerd', 'namespace'),
    },
    insecureRegistries: at
      .names('registry')
      .filter((host) => at.bool('registry', host, 'http') || at.bool('registry', host, 'insecure')),
    registryMirrors: perRegistry(at, (host) => at.list('registry', host, 'mirrors')),
    registryCertificates: perRegistry(at, (host) => certificatesAt(at, host)),
  };
  return { config, warnings };
}

function workerAt(at: ReturnType<typeof reader>, kind: 'oci' | 'containerd'): WorkerConfig {
  return {
    enabled: at.bool('worker', kind, 'enabled'),
    snapshotter: at.text('worker', kind, 'snapshotter'),
    labels: Object.fromEntries(
      at.names('worker', kind, 'labels').map((name) => [name, at.text('worker', kind, 'labels', name) ?? '']),
    ),
  };
}

function perRegistry<T>(
  at: ReturnType<typeof reader>,
  read: (host: string) => T | undefined,
): Record<string, T> {
  const found = at.names('registry').map((host) => [host, read(host)] as const);
  return Object.fromEntries(found.filter((each): each is readonly [string, T] => each[1] !== undefined));
}

function certificatesAt(at: ReturnType<typeof reader>, host: string): HostCertificates | undefined {
  const ca = at.list('registry', host, 'ca');
  const keypairs = at.tables('registry', host, 'keypair').map((pair) => ({
    cert: pair.required('cert'),
    key: pair.required('key'),
  }));
  return ca === undefined && keypairs.length === 0 ? undefined : { ca, keypairs };
}

function checkKeys(table: TomlTable, keys: Keys, path: string[], warn: (message: string) => void): void {
  for (const [name, value] of Object.entries(table)) {
    const key = [...path, name];
    const kind = Object.hasOwn(keys, name) ? keys[name] : keys['*'];
    if (kind === undefined) {
      const near = nearest(name, Object.keys(keys));
      warn(
        `unknown key ${shown(key)}${near === undefined ? '' : `: did you mean ${shown([...path, near])}?`}`,
      );
    } else if (kind === 'idle') warn(`${shown(key)} has no effect here`);
    else if (kind !== 'used') {
      for (const each of Array.isArray(value) ? value : [value]) {
        if (isTable(each)) checkKeys(each, kind, key, warn);
      }
    }
  }
}

function shown(path: readonly string[]): string {
  return path.map((part) => (/^[\w-]+$/.test(part) ? part : JSON.stringify(part))).join('.');
}

function isTable(value: TomlValue | undefined): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof TomlDate);
}

/** Looks values up by their path and checks their type. */
function reader(table: TomlTable, file: string) {
  const get = (path: readonly string[]): TomlValue | undefined => {
    let value: TomlValue | undefined = table;
    for (const name of path) value = isTable(value) && Object.hasOwn(value, name) ? value[name] : undefined;
    return value;
  };
  const wrong = (path: readonly string[], wanted: string) =>
    fail('invalid', 'client', `${file}: ${shown(path)} must be ${wanted}`);
  const text = (...path: string[]) => {
    const value = get(path);
    if (value === undefined || typeof value === 'string') return value;
    throw wrong(path, 'text');
  };
  return {
    text,
    has: (...path: string[]) => get(path) !== undefined,
    names: (...path: string[]) => Object.keys((get(path) as object | undefined) ?? {}),
    bool(...path: string[]) {
      const value = get(path);
      if (value === undefined || typeof value === 'boolean') return value;
      throw wrong(path, 'true or false');
    },
    number(...path: string[]) {
      const value = get(path);
      if (value === undefined || typeof value === 'number') return value;
      throw wrong(path, 'a number');
    },
    list(...path: string[]) {
      const value = get(path);
      if (value === undefined) return undefined;
      if (Array.isArray(value) && value.every((each): each is string => typeof each === 'string'))
        return value;
      throw wrong(path, 'a list of texts');
    },
    /** A list of tables (`[[…]]`). */
    tables(...path: string[]) {
      const value = get(path);
      if (value === undefined) return [];
      if (!Array.isArray(value) || !value.every(isTable)) throw wrong(path, 'a list of tables');
      return value.map((each) => ({
        required(name: string) {
          const found = each[name];
          if (typeof found === 'string' && found !== '') return found;
          throw wrong([...path, name], 'text');
        },
      }));
    },
    /** A number of seconds or a duration as Go writes it; ms. */
    duration(...path: string[]) {
      const value = get(path);
      if (value === undefined) return undefined;
      if (typeof value === 'number') return value * 1000;
      const ms = typeof value === 'string' ? goDuration(value) : undefined;
      if (ms === undefined) throw wrong(path, 'a duration such as 48h or a number of seconds');
      return ms;
    },
  };
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function goDuration(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (units[unit as string] as number),
    0,
  );
}
