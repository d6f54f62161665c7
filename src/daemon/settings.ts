/**
 * The settings of a daemon. Each has one name: flag `--tls-cert`, variable `DRYDOCK_TLS_CERT`, `"tls-cert"` in the
 * file.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { JsonFault, type JsonValue, parseJson, placeOf } from '../auth/index.ts';
import { imageStores, operatorLimits, operatorRights, snapshotters } from '../engine/index.ts';
import { errnoCode, fail, nearest } from '../errors/index.ts';
import { type NetworkSetting, networkOptions, readAuthorities } from '../network/index.ts';
import { parseBool } from '../words/index.ts';
import type { DaemonConfig } from './config.ts';
import {
  type DockerNames,
  defaultRuntime,
  dockerNames,
  isDockerName,
  readDockerName,
} from './docker-names.ts';
import { logFormats, logLevels } from './log.ts';

interface Setting {
  type: 'bool' | 'string' | 'list' | 'path';
  value?: string;
  help: string;
}

/** All settings. A list is comma-separated in the environment, and a list of texts, or one text, in the file. */
export const settings = {
  'apparmor-profile': { type: 'string', value: 'NAME', help: 'Loaded AppArmor profile that confines steps' },
  'audit-log': { type: 'path', value: 'FILE', help: 'Append a JSON line per decision; default: to the log' },
  'cache-bucket': {
    type: 'list',
    value: 'BUCKET',
    help: "Buckets of caches that builds may use with this daemon's own credentials: s3://NAME, or the URL of one",
  },
  'cdi-auto-allow': {
    type: 'list',
    value: 'DEVICE',
    help: 'Devices (vendor.com/class=name) and kinds of them that every build may have',
  },
  'cdi-disabled': { type: 'bool', help: 'Have no devices (CDI)' },
  'cdi-spec-dir': {
    type: 'list',
    value: 'DIR',
    help: 'Folders of CDI files (default /etc/cdi, /var/run/cdi, /etc/buildkit/cdi)',
  },
  'containerd-address': { type: 'string', value: 'PATH', help: "containerd's socket" },
  'containerd-namespace': { type: 'string', value: 'NAME', help: 'Namespace of containerd (default moby)' },
  engine: {
    type: 'string',
    value: 'ADDRESS',
    help: 'Docker engine for what Drydock does not do (containers, volumes, networks): unix:///var/run/docker.sock',
  },
  explain: { type: 'bool', help: 'Say of each step that runs why it was not cached (default true)' },
  group: { type: 'string', value: 'GROUP', help: 'Group of unix sockets (mode 0660)' },
  host: {
    type: 'list',
    value: 'ADDRESS',
    help: 'unix:///path, tcp://HOST:PORT, fd://; default: a socket under the root',
  },
  'image-store': { type: 'string', value: 'NAME', help: 'Where images are kept: local or containerd' },
  'insecure-registry': {
    type: 'list',
    value: 'HOST',
    help: 'Registries to speak to without TLS: HOST[:PORT], or a network as 192.168.1.0/24',
  },
  'insecure-tcp': { type: 'bool', help: 'Allow tcp:// without TLS on loopback, open to all of this machine' },
  'log-format': { type: 'string', value: 'FORMAT', help: 'text or json' },
  'log-level': { type: 'string', value: 'LEVEL', help: 'debug, info, warn or error' },
  'max-concurrent-downloads': {
    type: 'string',
    value: 'N',
    help: 'Most blobs that are fetched from registries at a time (default 4)',
  },
  'max-concurrent-uploads': {
    type: 'string',
    value: 'N',
    help: 'Most blobs that each push sends at a time (default 4)',
  },
  'max-download-attempts': {
    type: 'string',
    value: 'N',
    help: 'How often a request to a registry is tried in all (default 5)',
  },
  'max-parallelism': { type: 'string', value: 'N', help: 'Most steps that run at a time, over all builds' },
  'metrics-address': {
    type: 'string',
    value: 'HOST:PORT',
    help: 'Show /metrics and /healthz there, to everybody who reaches it (default: only where requests are taken)',
  },
  'no-process-sandbox': {
    type: 'bool',
    help: 'Leave steps among the processes of this machine, with its /proc (rootless only)',
  },
  'network-cni-config': { type: 'path', value: 'FILE', help: 'CNI configuration of the networks of steps' },
  'network-cni-plugins': {
    type: 'path',
    value: 'DIR',
    help: 'Folder of the CNI plugins (default /opt/cni/bin or /usr/lib/cni)',
  },
  'network-deny': {
    type: 'list',
    value: 'NETWORK',
    help: "Networks that steps cannot reach, or none (default: link-local and clouds' metadata)",
  },
  'network-host-access': {
    type: 'string',
    value: 'WHEN',
    help: 'When steps may ask services of this host: never, asked (by host-gateway, the default) or always',
  },
  'network-host-gateway': {
    type: 'list',
    value: 'ADDRESS',
    help: 'What host-gateway stands for in --add-host (default: where steps find this host)',
  },
  'network-mtu': {
    type: 'string',
    value: 'BYTES',
    help: "Largest packet of steps' networks (default: of the uplinks)",
  },
  'network-mode': {
    type: 'string',
    value: 'MODE',
    help: 'Network of steps: auto, bridge, cni, pasta, host or none',
  },
  'network-name': {
    type: 'list',
    value: 'NAME=FILE',
    help: 'A network that builds may choose (--network NAME), with its CNI configuration',
  },
  'network-pool-size': { type: 'string', value: 'N', help: 'Most networks that are kept ready (default 16)' },
  'network-subnet': {
    type: 'list',
    value: 'NETWORK',
    help: 'Networks of which steps get addresses, one of IPv4 and one of IPv6 (default: free ones)',
  },
  'proxy-network': {
    type: 'bool',
    help: 'Have the steps of all builds reach the network by a proxy, which notes what they ask for',
  },
  policy: {
    type: 'path',
    value: 'FILE',
    help: 'Policy file; default: /etc/drydock/policy.json (rootless: ~/.config/drydock) if it is there',
  },
  'image-policy': {
    type: 'path',
    value: 'FILE',
    help: 'Whose signatures images must have that are pulled or built on (docs/signing.md)',
  },
  'provenance-env-dir': {
    type: 'path',
    value: 'DIR',
    help: 'Folder of JSON files whose fields go into every provenance',
  },
  'registry-config-path': {
    type: 'list',
    value: 'DIR',
    help: 'Folders with HOST/hosts.toml (default /etc/containerd/certs.d, /etc/docker/certs.d)',
  },
  'registry-mirror': {
    type: 'list',
    value: 'HOST',
    help: 'Mirrors of Docker Hub, asked before it: HOST[:PORT][/PREFIX]',
  },
  root: { type: 'path', value: 'DIR', help: 'Folder of all state' },
  'seccomp-profile': {
    type: 'string',
    value: 'FILE',
    help: "Seccomp profile of steps in docker's format, builtin (default) or unconfined",
  },
  selinux: { type: 'bool', help: 'Give each step SELinux labels of its own' },
  'shared-cache': {
    type: 'string',
    value: 'PLACE',
    help: 'Cache of a fleet: s3://BUCKET/PREFIX, azblob://ACCOUNT/CONTAINER, dir:/FOLDER or a repository, with ?read-only=true…',
  },
  'shutdown-timeout': {
    type: 'string',
    value: 'SECONDS',
    help: 'How long builds may go on after SIGTERM (default 15)',
  },
  'step-cpus': {
    type: 'string',
    value: 'N',
    help: 'Most processors that a step keeps busy, as 1.5; a build may ask for fewer',
  },
  'step-memory': {
    type: 'string',
    value: 'SIZE',
    help: 'Most memory of a step, as 2g; a build may ask for less',
  },
  'step-log-max-size': {
    type: 'string',
    value: 'BYTES',
    help: 'Most output of a step that is shown, as 10m; -1 (the default): all',
  },
  'step-log-max-speed': {
    type: 'string',
    value: 'BYTES',
    help: 'Most output of a step that is shown in a second; -1 (the default): all',
  },
  'step-oom-score': {
    type: 'string',
    value: 'N',
    help: 'How readily the kernel ends steps for want of memory, 0 to 1000 (default: 500 more than the daemon)',
  },
  'step-pids': {
    type: 'string',
    value: 'N',
    help: 'Most processes and threads of a step (default 8192); 0: no limit',
  },
  'step-runtime': {
    type: 'string',
    value: 'PROGRAM',
    help: 'OCI runtime of steps (default: crun where it works, else runc)',
  },
  'step-shm-size': {
    type: 'string',
    value: 'SIZE',
    help: 'Size of /dev/shm of steps whose build does not set it (default 64m)',
  },
  'step-timeout': { type: 'string', value: 'TIME', help: 'Longest time that a step may run: 90s, 1h30m' },
  'step-ulimit': {
    type: 'list',
    value: 'NAME=SOFT[:HARD]',
    help: 'Ulimits of steps whose build does not set them',
  },
  'step-ca': {
    type: 'list',
    value: 'FILE',
    help: 'Certificates of authorities (PEM) that programs of steps trust besides those of their images',
  },
  snapshotter: { type: 'string', value: 'NAME', help: 'auto, overlayfs, native or stargz' },
  sync: { type: 'bool', help: 'Write an image to the disk before it is named (local store)' },
  'tls-ca': { type: 'path', value: 'FILE', help: 'CA whose client certificates are taken' },
  'tls-cert': { type: 'path', value: 'FILE', help: "The daemon's certificate, for tcp://" },
  'tls-key': { type: 'path', value: 'FILE', help: 'Its key' },
  'userns-remap': {
    type: 'string',
    value: 'USER',
    help: "Run steps in a user namespace with this user's ranges of /etc/subuid and /etc/subgid",
  },
  'tls-verify': { type: 'bool', help: 'Refuse clients without a certificate, even if they have a token' },
} as const satisfies Record<string, Setting>;

type SettingName = keyof typeof settings;
export type SettingValues = { [K in SettingName]?: string | boolean | readonly string[] };

const names = Object.keys(settings) as SettingName[];

/** The environment variable of a setting. */
function variableOf(name: SettingName): string {
  return `DRYDOCK_${name.toUpperCase().replaceAll('-', '_')}`;
}

/** The settings in the environment; an empty variable gives none. Throws `invalid`. */
export function settingsFromEnv(env: NodeJS.ProcessEnv): SettingValues {
  const found: SettingValues = {};
  for (const name of names) {
    const text = env[variableOf(name)];
    if (text === undefined || text === '') continue;
    const { type } = settings[name];
    if (type === 'list') found[name] = text.split(',').filter((item) => item !== '');
    else if (type === 'bool') {
      const on = parseBool(text);
      if (on === undefined) {
        throw fail('invalid', 'client', `${variableOf(name)}=${text}: want true or false`);
      }
      found[name] = on;
    } else found[name] = type === 'path' ? resolve(text) : text;
  }
  return found;
}

/**
 * The settings in a JSON file; paths in it are relative to its folder. Throws `not-found`; throws `invalid` with line
 * and column, and with the nearest known name for an unknown one.
 */
export function settingsFromFile(file: string): FileSettings {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (err) {
    const missing = errnoCode(err) === 'ENOENT';
    throw fail(
      missing ? 'not-found' : 'denied',
      'host',
      missing ? `there is no configuration file ${file}` : `${file} cannot be read (${errnoCode(err)})`,
      { cause: err },
    );
  }
  return parseSettings(text, file);
}

/** What a file says: settings, and what dockerd's names in it say besides. */
interface FileSettings {
  settings: SettingValues;
  docker: DockerNames;
}

/** `settingsFromFile` on a text. Pure. */
export function parseSettings(text: string, file: string): FileSettings {
  try {
    const top = parseJson(text);
    if (top.type !== 'object') throw new JsonFault('the configuration is a JSON object', top.at);
    const found: SettingValues = {};
    const docker: DockerNames = { warnings: [] };
    for (const [key, { keyAt, value }] of top.members) {
      const name = names.find((known) => known === key);
      if (name === undefined && isDockerName(key)) {
        for (const [own, read] of Object.entries(readDockerName(key, value, docker))) {
          const setting = own as SettingName;
          found[setting] ??= settings[setting].type === 'path' ? resolve(dirname(file), String(read)) : read;
        }
        continue;
      }
      if (name === undefined) {
        const like = nearest(key, [...names, ...dockerNames]);
        throw new JsonFault(
          `there is no setting ${JSON.stringify(key)}${like === undefined ? '' : ` (did you mean "${like}"?)`}`,
          keyAt,
        );
      }
      found[name] = readValue(name, value, file);
    }
    return { settings: { ...defaultRuntime(docker), ...found }, docker };
  } catch (err) {
    if (!(err instanceof JsonFault)) throw err;
    const { line, column } = placeOf(text, err.at);
    throw fail('invalid', 'host', `${file}:${line}:${column}: ${err.message}`, {
      hint: '`drydock daemon --help` lists the settings.',
    });
  }
}

function readValue(name: SettingName, value: JsonValue, file: string): string | boolean | string[] {
  const { type } = settings[name];
  const textOf = (item: JsonValue): string => {
    if (item.type === 'string' && item.value !== '') return item.value;
    if (item.type === 'number' && type === 'string') return String(item.value);
    throw new JsonFault(`"${name}" wants text`, item.at);
  };
  if (type === 'bool') {
    if (value.type === 'boolean') return value.value;
    throw new JsonFault(`"${name}" is true or false`, value.at);
  }
  if (type === 'list') return value.type === 'array' ? value.items.map(textOf) : [textOf(value)];
  return type === 'path' ? resolve(dirname(file), textOf(value)) : textOf(value);
}

/** Puts sources of settings together; the first one that has a setting wins. Throws `invalid`. */
export function daemonConfig(sources: readonly SettingValues[], root: string): DaemonConfig {
  const pick = (name: SettingName) => sources.find((source) => source[name] !== undefined)?.[name];
  const text = (name: SettingName) => pick(name) as string | undefined;
  const list = (name: SettingName) => pick(name) as readonly string[] | undefined;
  const oneOf = <T extends string>(name: SettingName, known: readonly T[]): T | undefined => {
    const given = text(name);
    const found = known.find((each) => each === given);
    if (given === undefined || found !== undefined) return found;
    const like = nearest(given, known);
    throw fail('invalid', 'client', `invalid ${name} ${JSON.stringify(given)}: want ${known.join(', ')}`, {
      hint: like && `Did you mean ${like}?`,
    });
  };
  return {
    root: text('root') ?? root,
    hosts: [...(list('host') ?? [])],
    group: text('group'),
    tls: tlsOf(text, pick('tls-verify') as boolean | undefined),
    insecureTcp: pick('insecure-tcp') as boolean | undefined,
    imageStore: oneOf('image-store', imageStores),
    containerdAddress: text('containerd-address'),
    containerdNamespace: text('containerd-namespace'),
    snapshotter: oneOf('snapshotter', snapshotters),
    ...operatorRights((name) => {
      const value = pick(name);
      return typeof value === 'object' ? value.join(',') : value?.toString();
    }),
    ...operatorLimits((name) => (name === 'step-ulimit' ? list(name)?.join(',') : text(name))),
    network: networkOptions(networkTextOf(pick)),
    proxyNetwork: pick('proxy-network') as boolean | undefined,
    trusted: readAuthorities(list('step-ca') ?? []),
    explain: pick('explain') as boolean | undefined,
    sharedCachePlace: text('shared-cache'),
    noProcessSandbox: pick('no-process-sandbox') as boolean | undefined,
    provenanceEnvDir: text('provenance-env-dir'),
    usernsRemap: text('userns-remap'),
    sync: pick('sync') as boolean | undefined,
    cacheBuckets: [...(list('cache-bucket') ?? [])],
    insecureRegistries: [...(list('insecure-registry') ?? [])],
    registryConfigPath: pick('registry-config-path') as string[] | undefined,
    registryMirrors: { 'docker.io': [...(list('registry-mirror') ?? [])] },
    engine: text('engine'),
    metricsAddress: text('metrics-address'),
    policyFile: text('policy'),
    imagePolicy: text('image-policy'),
    auditFile: text('audit-log'),
    logLevel: oneOf('log-level', logLevels),
    logFormat: oneOf('log-format', logFormats),
    shutdownTimeout: secondsOf('shutdown-timeout', text('shutdown-timeout')),
  };
}

/** The texts of the network's settings; a list is one text with commas. */
function networkTextOf(pick: (name: SettingName) => SettingValues[SettingName]) {
  return (name: NetworkSetting): string | undefined => {
    const value = pick(name);
    return Array.isArray(value) ? value.join(',') : (value as string | undefined);
  };
}

function tlsOf(text: (name: SettingName) => string | undefined, verify: boolean | undefined) {
  const [cert, key, ca] = [text('tls-cert'), text('tls-key'), text('tls-ca')];
  if (cert !== undefined && key !== undefined) return { cert, key, ca, requireCertificate: verify };
  if (cert === undefined && key === undefined && ca === undefined && !verify) return undefined;
  throw fail('invalid', 'client', 'TLS needs both a certificate and its key', {
    hint: 'Give --tls-cert and --tls-key (and --tls-ca for client certificates).',
  });
}

/** Reads a time in seconds, or with a unit; in ms. Throws `invalid` with the setting's name. */
export function secondsOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d{1,6}(?:\.\d+)?)(s|m|h)?$/.exec(text);
  if (match === null) {
    throw fail('invalid', 'client', `invalid ${name} ${JSON.stringify(text)}: want seconds, or 30s, 5m, 1h`);
  }
  return Number(match[1]) * { s: 1000, m: 60_000, h: 3_600_000 }[(match[2] ?? 's') as 's' | 'm' | 'h'];
}
