/**
 * Reads buildkitd.toml, as far as its keys have a meaning here.
 * https://github.com/moby/buildkit/blob/master/docs/buildkitd.toml.md has the keys.
 */
import { parse, type TomlTable } from 'smol-toml';
import type { CdiOptions } from '../cdi/index.ts';
import { fail } from '../errors/index.ts';
import type { DnsConfig } from '../network/index.ts';
import type { HostCertificates } from '../registry/index.ts';
import { checkKeys, type Keys } from './buildkitd-keys.ts';
import { type WorkerConfig, workerAt, workerKeys } from './buildkitd-worker.ts';
import { logFormats } from './log.ts';
import { TomlReader } from './toml-reader.ts';

/** The settings of a buildkitd.toml, or of buildkitd's flags, that Drydock acts on. */
export interface BuildkitdConfig {
  root?: string;
  /** Says that the process is rootless. */
  rootless?: boolean;
  debug?: boolean;
  proxyNetwork?: boolean;
  logFormat?: 'text' | 'json';
  logLevel?: 'debug' | 'info' | 'warn' | 'error';
  dns?: DnsConfig;
  cdi?: CdiOptions;
  /** A folder of JSON files whose fields go into every provenance. */
  provenanceEnvDir?: string;
  /** A frontend's name → whether builds may name it, and the images that may be it. */
  frontends?: Record<string, { enabled?: boolean; allowedRepositories?: string[] }>;
  entitlements?: string[];
  addresses?: string[];
  /** `HOST:PORT` where health and metrics are shown. */
  metricsAddress?: string;
  /** The group that owns the socket. */
  group?: string;
  tls?: { cert?: string; key?: string; ca?: string };
  history?: { maxEntries?: number /** ms */; maxAge?: number };
  oci?: WorkerConfig;
  containerd?: WorkerConfig & { address?: string; namespace?: string };
  insecureRegistries?: string[];
  /** A domain → its mirrors, in the order in which they are asked. */
  registryMirrors?: Record<string, string[]>;
  registryCertificates?: Record<string, HostCertificates>;
  /** The cache that the daemon shares with others, as `--shared-cache` names it. */
  sharedCachePlace?: string;
}

export interface ReadConfig {
  config: BuildkitdConfig;
  /** A sentence for each key that was not understood, or has no effect. */
  warnings: string[];
}

/** The names of containerd's runtime that ask for nothing else than is done. */
export const containerdRuntimes: readonly string[] = ['', 'io.containerd.runc.v2'];

/** Why another one is refused: it may be there to confine steps. */
export const otherRuntime = 'steps run with runc or crun; `worker.oci.binary` names another OCI runtime';

const unsigned = 'caches of GitHub Actions are written without signatures';
const signatures: Keys = {
  // The second is what the example in BuildKit's docs calls it, where it is empty.
  sign: { command: { only: [], why: unsigned }, cmd: { only: [''], why: unsigned } },
  verify: {
    required: {
      only: [false],
      why: 'caches of GitHub Actions would be read without a look at their signatures',
    },
    // It says how, when a look is required.
    policy: { '*': 'used' },
  },
};

const known: Keys = {
  root: 'used',
  debug: 'used',
  trace: 'used',
  'insecure-entitlements': 'used',
  provenanceEnvDir: 'used',
  proxyNetwork: 'used',
  log: { format: 'used', level: 'used' },
  dns: { nameservers: 'used', options: 'used', searchDomains: 'used' },
  grpc: {
    address: 'used',
    debugAddress: 'used',
    securityDescriptor: 'idle',
    uid: { unless: [0], why: 'the socket is the one of the user that runs the daemon' },
    gid: 'used',
    tls: { cert: 'used', key: 'used', ca: 'used' },
  },
  otel: { socketPath: 'idle' },
  cdi: { disabled: 'used', specDirs: 'used', autoAllowed: 'used' },
  history: { maxAge: 'used', maxEntries: 'used' },
  worker: {
    oci: {
      ...workerKeys,
      rootless: 'used',
      noProcessSandbox: 'used',
      binary: 'used',
      proxySnapshotterPath: 'idle',
      // Of releases before 0.32, `stargz-snapshotter`.
      stargzSnapshotter: { '*': 'idle' },
      'stargz-snapshotter': { '*': 'idle' },
      userRemapUnsupported: {
        only: [''],
        why: 'steps would have the users of this machine; `userns-remap` of `drydock daemon` does it',
      },
    },
    containerd: {
      ...workerKeys,
      address: 'used',
      namespace: 'used',
      rootless: 'used',
      runtime: {
        name: {
          only: containerdRuntimes,
          why: otherRuntime,
        },
        path: 'idle',
        options: { '*': 'idle' },
      },
    },
  },
  registry: {
    '*': {
      mirrors: 'used',
      http: 'used',
      insecure: 'used',
      ca: 'used',
      keypair: { '[]': { key: 'used', cert: 'used' } },
    },
  },
  frontend: { '*': { enabled: 'used', allowedRepositories: 'used' } },
  system: { platformsCacheMaxAge: 'idle', maxRegistryConcurrency: 'idle' },
  cache: { gha: signatures },
  // Drydock's own.
  'shared-cache': { place: 'used' },
  ghacache: signatures,
};

/**
 * Reads the file. Throws `invalid` when the text is no TOML, or a value has the wrong type, and `unsupported` for what
 * confines steps or checks what comes from outside, and is not done here. `file` is for messages.
 */
export function readBuildkitdToml(text: string, file: string): ReadConfig {
  let table: TomlTable;
  try {
    table = parse(text);
  } catch (cause) {
    const first = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw fail('invalid', 'client', `${file} is no TOML: ${first}`, { cause });
  }
  const warnings: string[] = [];
  checkKeys(table, known, {
    warn: (message) => warnings.push(`${file}: ${message}`),
    refuse(message) {
      throw fail('unsupported', 'client', `${file}: ${message}`, {
        hint: 'Leave it out of the file if builds may go without it.',
      });
    },
  });
  const at = new TomlReader(table, file);
  const config: BuildkitdConfig = {
    root: at.text('root'),
    // What buildkitd tells at its level trace is here told at debug.
    debug: at.bool('trace') || at.bool('debug'),
    proxyNetwork: at.bool('proxyNetwork'),
    provenanceEnvDir: at.text('provenanceEnvDir'),
    sharedCachePlace: at.text('shared-cache', 'place'),
    logFormat: at.oneOf(logFormats, 'log', 'format'),
    logLevel: logLevelOf(at.oneOf(levels, 'log', 'level')),
    entitlements: at.list('insecure-entitlements'),
    addresses: at.list('grpc', 'address'),
    metricsAddress: at.text('grpc', 'debugAddress'),
    group: at.number('grpc', 'gid')?.toString(),
    tls: at.has('grpc', 'tls')
      ? {
          cert: at.text('grpc', 'tls', 'cert'),
          key: at.text('grpc', 'tls', 'key'),
          ca: at.text('grpc', 'tls', 'ca'),
        }
      : undefined,
    history: { maxEntries: at.count('history', 'maxEntries'), maxAge: at.duration('history', 'maxAge') },
    dns: at.has('dns')
      ? {
          nameservers: at.list('dns', 'nameservers'),
          options: at.list('dns', 'options'),
          searchDomains: at.list('dns', 'searchDomains'),
        }
      : undefined,
    frontends: Object.fromEntries(
      at.names('frontend').map((name) => [
        name,
        {
          enabled: at.bool('frontend', name, 'enabled'),
          allowedRepositories: at.list('frontend', name, 'allowedRepositories'),
        },
      ]),
    ),
    cdi: {
      disabled: at.bool('cdi', 'disabled'),
      specDirs: at.list('cdi', 'specDirs'),
      autoAllowed: at.list('cdi', 'autoAllowed'),
    },
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

function perRegistry<T>(at: TomlReader, read: (host: string) => T | undefined): Record<string, T> {
  const found = at.names('registry').map((host) => [host, read(host)] as const);
  return Object.fromEntries(found.filter((each): each is readonly [string, T] => each[1] !== undefined));
}

function certificatesAt(at: TomlReader, host: string): HostCertificates | undefined {
  const ca = at.list('registry', host, 'ca');
  const keypairs = at.tables('registry', host, 'keypair').map((pair) => ({
    cert: pair.required('cert'),
    key: pair.required('key'),
  }));
  return ca === undefined && keypairs.length === 0 ? undefined : { ca, keypairs };
}

const levels = ['panic', 'fatal', 'error', 'warn', 'warning', 'info', 'debug', 'trace'] as const;

/** Our level for a level of buildkitd; undefined for an unknown one. */
export function logLevelOf(level: string | undefined): BuildkitdConfig['logLevel'] {
  const known = levels.find((each) => each === level);
  if (known === 'panic' || known === 'fatal') return 'error';
  if (known === 'trace') return 'debug';
  return known === 'warning' ? 'warn' : known;
}
