/**
 * The names of dockerd's daemon.json in a daemon's configuration file, so that a team may keep its file.
 * https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file
 */
import { JsonFault, type JsonValue } from '../auth/index.ts';
import type { GcRule, Space } from '../upkeep/index.ts';
import { durationMs } from '../words/index.ts';
import { parseSpace, policyWithin } from './buildkitd-gc.ts';

/** What dockerd's names say beyond the settings. */
export interface DockerNames {
  gc?: GcRule[];
  dns?: { nameservers: string[]; options: string[]; searchDomains: string[] };
  cgroupParent?: string;
  /** The entitlements that every build gets that asks for them. */
  entitlements?: string[];
  history?: { maxEntries?: number; maxAge?: number };
  /** Variables by which this process finds its proxies: `HTTP_PROXY` … */
  proxies?: Record<string, string>;
  minApiVersion?: string;
  /** Tells clients of experimental features: docker's CLI sends `--squash` to no other daemon. */
  experimental?: boolean;
  /** The program of each runtime, and the name of the one that steps have. */
  runtimes?: Map<string, string | undefined>;
  runtime?: string;
  /** What is in the file and does nothing here. */
  warnings: string[];
}

/** Values of settings, by their own names. */
type Values = Record<string, string | boolean | readonly string[]>;

type Reader = (value: JsonValue, names: DockerNames) => Values | undefined;

/** Names of the same things with other words. */
const renamed: Record<string, Reader> = {
  hosts: (value) => ({ host: texts(value) }),
  // Beside dockerd's own state, not among it.
  'data-root': (value) => ({ root: `${text(value).replace(/\/+$/, '')}/drydock` }),
  tlscacert: (value) => ({ 'tls-ca': text(value) }),
  tlscert: (value) => ({ 'tls-cert': text(value) }),
  tlskey: (value) => ({ 'tls-key': text(value) }),
  tlsverify: (value) => ({ 'tls-verify': truth(value) }),
  debug: (value) => (truth(value) ? { 'log-level': 'debug' } : undefined),
  'insecure-registries': (value) => ({ 'insecure-registry': texts(value) }),
  'registry-mirrors': (value) => ({ 'registry-mirror': texts(value) }),
  'cdi-spec-dirs': (value) => ({ 'cdi-spec-dir': texts(value) }),
  'default-shm-size': (value) => ({ 'step-shm-size': count(value) }),
  'max-concurrent-downloads': (value) => ({ 'max-concurrent-downloads': count(value) }),
  'max-concurrent-uploads': (value) => ({ 'max-concurrent-uploads': count(value) }),
  'max-download-attempts': (value) => ({ 'max-download-attempts': count(value) }),
  'host-gateway-ip': (value) => ({ 'network-host-gateway': [text(value)] }),
  'host-gateway-ips': (value) => ({ 'network-host-gateway': texts(value) }),
  // 0 is dockerd's word for: as it comes.
  mtu: (value) => (Number(count(value)) === 0 ? undefined : { 'network-mtu': count(value) }),
  'metrics-addr': (value) => ({ 'metrics-address': text(value) }),
  'selinux-enabled': (value) => ({ selinux: truth(value) }),
  containerd: (value) => ({ 'containerd-address': text(value) }),
  'storage-driver': (value) => ({ snapshotter: snapshotters[text(value)] ?? text(value) }),
  'default-ulimits': (value) => ({ 'step-ulimit': [...members(value).entries()].map(ulimit) }),
  features: (value, names) => {
    for (const key of members(value).keys()) {
      if (key === 'containerd-snapshotter' || key === 'cdi' || key === 'buildkit') continue;
      names.warnings.push(`"features.${key}" of dockerd's settings has no effect here`);
    }
    const store = members(value).get('containerd-snapshotter')?.value;
    const cdi = members(value).get('cdi')?.value;
    return {
      ...(store === undefined ? {} : { 'image-store': truth(store) ? 'containerd' : 'local' }),
      ...(cdi === undefined ? {} : { 'cdi-disabled': !truth(cdi) }),
    };
  },
  dns: (value, names) => {
    dnsOf(names).nameservers = texts(value);
    return undefined;
  },
  'dns-opts': (value, names) => {
    dnsOf(names).options = texts(value);
    return undefined;
  },
  'dns-search': (value, names) => {
    dnsOf(names).searchDomains = texts(value);
    return undefined;
  },
  runtimes: (value, names) => {
    names.runtimes = new Map(
      [...members(value)].map(([name, { value: runtime }]) => {
        const path = members(runtime).get('path')?.value;
        for (const key of members(runtime).keys()) {
          if (key !== 'path')
            names.warnings.push(`"runtimes.${name}.${key}" of dockerd's settings has no effect here`);
        }
        if (path === undefined)
          names.warnings.push(`the runtime ${name} has no path, and steps cannot have it`);
        return [name, path === undefined ? undefined : text(path)];
      }),
    );
    return undefined;
  },
  'default-runtime': (value, names) => {
    names.runtime = text(value);
    return undefined;
  },
  'cgroup-parent': (value, names) => {
    names.cgroupParent = text(value);
    return undefined;
  },
  experimental: (value, names) => {
    names.experimental = truth(value);
    return undefined;
  },
  'min-api-version': (value, names) => {
    names.minApiVersion = apiVersion(value);
    return undefined;
  },
  proxies: (value, names) => {
    const kinds: Record<string, string> = {
      'http-proxy': 'HTTP_PROXY',
      'https-proxy': 'HTTPS_PROXY',
      'no-proxy': 'NO_PROXY',
    };
    names.proxies = Object.fromEntries(
      [...members(value)].map(([key, member]) => {
        const variable = Object.hasOwn(kinds, key) ? kinds[key] : undefined;
        if (variable === undefined)
          throw new JsonFault(`there is no proxy ${JSON.stringify(key)}`, member.keyAt);
        return [variable, text(member.value)];
      }),
    );
    return undefined;
  },
  builder: (value, names) => {
    for (const [key, member] of members(value)) {
      if (key === 'gc') names.gc = gcOf(member.value);
      else if (key === 'entitlements') names.entitlements = entitlementsOf(member.value);
      else if (key === 'history') names.history = historyOf(member.value);
      else throw new JsonFault(`there is no setting "builder.${key}"`, member.keyAt);
    }
    return undefined;
  },
};

/** Names that are about containers, their networks and their logs, which Drydock has not. */
const ofContainers = new Set(
  (
    'bip bip6 bridge bridge-accept-fwmark containerd-plugins-namespace cpu-rt-period cpu-rt-runtime cri-containerd ' +
    'default-address-pools default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode ' +
    'default-network-opts exec-opts exec-root fixed-cidr fixed-cidr-v6 icc init ' +
    'init-path ip ip-forward ip-forward-no-drop ip-masq ip6tables iptables ipv6 labels live-restore log-driver ' +
    'log-opts network-control-plane-mtu network-diagnostic-port no-new-privileges node-generic-resources ' +
    'oom-score-adjust pidfile storage-opts swarm-default-advertise-addr userland-proxy userland-proxy-path tls ' +
    'http-proxy-warning firewall-backend allow-direct-routing nri raw-logs api-cors-header restart ' +
    'allow-nondistributable-artifacts shutdown-delay'
  ).split(' '),
);

/** Names whose silent absence would let pass what they are there to stop, and what does it here. */
const refused: Record<string, string> = {
  'authorization-plugins': 'tokens and a policy file say here who may do what (setting "policy")',
  rootless: 'a daemon is rootless here when a user other than root starts it',
};

const snapshotters: Record<string, string> = { overlay2: 'overlayfs', overlayfs: 'overlayfs', vfs: 'native' };

/** Dockerd's names that settings are made of. */
export const dockerNames: readonly string[] = Object.keys(renamed);

/** Whether a name is one of dockerd's: one that means something here, or nothing, or that is refused. */
export function isDockerName(name: string): boolean {
  return Object.hasOwn(renamed, name) || Object.hasOwn(refused, name) || ofContainers.has(name);
}

/** Reads the value of a name, and notes in `names` what no setting has. Throws `JsonFault`. */
export function readDockerName(name: string, value: JsonValue, names: DockerNames): Values {
  const instead = Object.hasOwn(refused, name) ? refused[name] : undefined;
  const isOff = value.type === 'boolean' ? !value.value : value.type === 'array' && value.items.length === 0;
  if (instead !== undefined) {
    if (isOff) return {};
    throw new JsonFault(`"${name}" of dockerd's settings is not obeyed: ${instead}`, value.at);
  }
  const read = Object.hasOwn(renamed, name) ? renamed[name] : undefined;
  if (read !== undefined) return read(value, names) ?? {};
  names.warnings.push(`"${name}" of dockerd's settings has no effect here`);
  return {};
}

/** The program of the runtime that steps are to have: that of its name, or a program of that name. */
export function defaultRuntime({ runtime, runtimes }: DockerNames): Values {
  return runtime === undefined ? {} : { 'step-runtime': runtimes?.get(runtime) ?? runtime };
}

function gcOf(value: JsonValue): GcRule[] | undefined {
  const known = ['enabled', 'policy', 'defaultKeepStorage', 'defaultReservedSpace', 'defaultMaxUsedSpace'];
  const at = fields(value, [...known, 'defaultMinFreeSpace'], 'builder.gc');
  const enabled = at('enabled');
  // dockerd, too, collects nothing unless it is told so, once its file speaks of it.
  if (enabled !== undefined && !truth(enabled)) return [];
  const policy = at('policy');
  if (policy !== undefined) return list(policy).map(ruleOf);
  const limits: GcRule = {
    reservedSpace: space(at('defaultReservedSpace') ?? at('defaultKeepStorage')),
    maxUsedSpace: space(at('defaultMaxUsedSpace')),
    minFreeSpace: space(at('defaultMinFreeSpace')),
  };
  return Object.values(limits).every((each) => each === undefined) ? undefined : policyWithin(limits);
}

function ruleOf(value: JsonValue): GcRule {
  const known = [
    'all',
    'filter',
    'keepStorage',
    'reservedSpace',
    'maxUsedSpace',
    'minFreeSpace',
    'keepDuration',
  ];
  const at = fields(value, known, 'builder.gc.policy');
  const all = at('all');
  const rule: GcRule = {
    all: all === undefined ? undefined : truth(all),
    reservedSpace: space(at('reservedSpace') ?? at('keepStorage')),
    maxUsedSpace: space(at('maxUsedSpace')),
    minFreeSpace: space(at('minFreeSpace')),
  };
  const filters: string[] = [];
  const keep = at('keepDuration');
  if (keep !== undefined) rule.unusedFor = duration(keep);
  for (const item of list(at('filter') ?? { type: 'array', at: value.at, items: [] })) {
    const filter = text(item);
    // `until=` and `unused-for=` are ages; all else is of containerd's syntax, where docker writes `type=regular`.
    const [, age] = /^(?:until|unused-for)={1,2}(.*)$/.exec(filter) ?? [];
    if (age !== undefined) rule.unusedFor = duration({ type: 'string', at: item.at, value: age });
    else filters.push(filter.replace(/^(\w+)=(?![=~])/, '$1=='));
  }
  return filters.length === 0 ? rule : { ...rule, filters };
}

const entitlementNames: Record<string, string> = {
  'network-host': 'network.host',
  'security-insecure': 'security.insecure',
  device: 'device',
};

function entitlementsOf(value: JsonValue): string[] {
  return [...members(value)].flatMap(([key, member]) => {
    const name = Object.hasOwn(entitlementNames, key) ? entitlementNames[key] : undefined;
    if (name === undefined)
      throw new JsonFault(`there is no entitlement ${JSON.stringify(key)}`, member.keyAt);
    return truth(member.value) ? [name] : [];
  });
}

function historyOf(value: JsonValue): DockerNames['history'] {
  const at = fields(value, ['maxEntries', 'maxAge'], 'builder.history');
  const [entries, age] = [at('maxEntries'), at('maxAge')];
  if (
    entries !== undefined &&
    (entries.type !== 'number' || !Number.isInteger(entries.value) || entries.value < 0)
  ) {
    throw new JsonFault('"maxEntries" is a number from 0 on', entries.at);
  }
  return {
    ...(entries?.type === 'number' ? { maxEntries: entries.value } : {}),
    ...(age === undefined ? {} : { maxAge: duration(age) }),
  };
}

function ulimit([name, { value }]: [string, { value: JsonValue }]): string {
  const at = fields(value, ['Name', 'Hard', 'Soft'], `default-ulimits.${name}`);
  const number = (key: string) => {
    const each = at(key);
    if (each?.type !== 'number')
      throw new JsonFault(`the ulimit ${name} wants a number as "${key}"`, value.at);
    return each.value;
  };
  return `${name}=${number('Soft')}:${number('Hard')}`;
}

function apiVersion(value: JsonValue): string {
  const version = text(value);
  if (!/^1\.\d{1,3}$/.test(version))
    throw new JsonFault('"min-api-version" is a version such as "1.44"', value.at);
  return version;
}

function dnsOf(names: DockerNames) {
  names.dns ??= { nameservers: [], options: [], searchDomains: [] };
  return names.dns;
}

function space(value: JsonValue | undefined): Space | undefined {
  if (value === undefined) return undefined;
  const given = value.type === 'number' ? String(value.value) : text(value);
  return given === '' || given === '0' ? undefined : parseSpace(given, 'builder.gc');
}

function duration(value: JsonValue): number {
  const ms = value.type === 'string' ? durationMs(value.value) : undefined;
  if (ms === undefined || ms < 0) throw new JsonFault('this wants a duration such as "168h"', value.at);
  return ms;
}

function members(value: JsonValue): Map<string, { keyAt: number; value: JsonValue }> {
  if (value.type === 'object') return value.members;
  throw new JsonFault('this wants an object', value.at);
}

/** The fields of an object that has no others than these. */
function fields(value: JsonValue, known: readonly string[], what: string) {
  const found = members(value);
  for (const [key, { keyAt }] of found) {
    if (!known.includes(key)) throw new JsonFault(`there is no setting "${what}.${key}"`, keyAt);
  }
  return (key: string): JsonValue | undefined => found.get(key)?.value;
}

function list(value: JsonValue): JsonValue[] {
  if (value.type === 'array') return value.items;
  throw new JsonFault('this wants a list', value.at);
}

function texts(value: JsonValue): string[] {
  return list(value).map(text);
}

function text(value: JsonValue): string {
  if (value.type === 'string') return value.value;
  throw new JsonFault('this wants text', value.at);
}

/** A number, or a text with one and perhaps a unit. */
function count(value: JsonValue): string {
  return value.type === 'number' ? String(value.value) : text(value);
}

function truth(value: JsonValue): boolean {
  if (value.type === 'boolean') return value.value;
  throw new JsonFault('this is true or false', value.at);
}
