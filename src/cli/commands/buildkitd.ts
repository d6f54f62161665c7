import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type BuildkitdConfig,
  buildkitdSetup,
  containerdRuntimes,
  createLog,
  defaultAddress,
  gcOfFlags,
  logLevelOf,
  otherRuntime,
  type ReadConfig,
  readBuildkitdToml,
  secondsOf,
  startDaemon,
} from '../../daemon/index.ts';
import {
  defaultRoot,
  explainFromEnv,
  noProcessSandboxFromEnv,
  stepLimitsFromEnv,
  stepRightsFromEnv,
  usernsRemapFromEnv,
} from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import { configFolder } from '../../linux/index.ts';
import {
  authoritiesFromEnv,
  type NetworkOptions,
  type NetworkSetting,
  networkFromEnv,
  networkOptions,
  proxyFromEnv,
} from '../../network/index.ts';
import { type Platform, parsePlatform } from '../../oci/index.ts';
import { version } from '../../version.ts';
import { parseBool } from '../../words/index.ts';
import { command } from '../command.ts';
import { serve } from '../serve.ts';

const defaultConfigFile = join(configFolder('buildkit'), 'buildkitd.toml');

/** Flags of buildkitd that scripts pass and that change nothing here; a warning says so. */
const idle = ['oci-worker-proxy-snapshotter-path', 'otel-socket-path'] as const;
const idleBool = ['save-cache-debug'] as const;

/** The flags of a worker's network. */
function networkFlags<W extends 'oci' | 'containerd'>(worker: W) {
  const text = (value: string, help: string) => ({ type: 'string' as const, value, help });
  const flags = {
    [`${worker}-worker-net`]: text('MODE', 'network of steps: auto, bridge, cni, pasta, host or none'),
    [`${worker}-cni-config-path`]: text('FILE', 'CNI configuration'),
    [`${worker}-cni-binary-dir`]: text('DIR', 'folder of the CNI plugins'),
    [`${worker}-cni-pool-size`]: text('N', 'most networks that are kept ready'),
  };
  return flags as Record<NetworkFlag<W>, (typeof flags)[string]>;
}

type NetworkFlag<W extends string> =
  | `${W}-worker-net`
  | `${W}-cni-${'config-path' | 'binary-dir' | 'pool-size'}`;

/** What the flags of a worker's network say. */
function networkOf(
  worker: 'oci' | 'containerd',
  values: Partial<Record<NetworkFlag<'oci' | 'containerd'>, string>>,
) {
  const flags: Partial<Record<NetworkSetting, NetworkFlag<'oci' | 'containerd'>>> = {
    'network-mode': `${worker}-worker-net`,
    'network-cni-config': `${worker}-cni-config-path`,
    'network-cni-plugins': `${worker}-cni-binary-dir`,
    'network-pool-size': `${worker}-cni-pool-size`,
  };
  const flagOf = (setting: NetworkSetting) => flags[setting];
  const textOf = (setting: NetworkSetting) => {
    const flag = flagOf(setting);
    return flag === undefined ? undefined : values[flag];
  };
  return networkOptions(textOf, (setting) => `--${flagOf(setting)}`);
}

export default command({
  usage: '',
  summary: `Serve BuildKit's API (and docker's) as buildkitd would be started: its flags, its buildkitd.toml.`,
  flags: {
    addr: {
      type: 'list',
      value: 'ADDRESS',
      help: `listen on unix:// or tcp://; default ${defaultAddress(defaultRoot())}`,
    },
    'allow-insecure-entitlement': {
      type: 'list',
      value: 'NAME',
      help: 'let builds that ask for it have network.host, security.insecure or device',
    },
    'cdi-disabled': { type: 'bool', help: 'have no devices (CDI)' },
    'cdi-spec-dir': { type: 'list', value: 'DIR', help: 'folders of CDI files; default: as buildkitd' },
    config: { type: 'string', value: 'FILE', help: `default: ${defaultConfigFile} if it is there` },
    'containerd-worker': {
      type: 'string',
      value: 'BOOL',
      help: 'keep images in a containerd: true, false, auto',
    },
    'containerd-worker-addr': { type: 'string', value: 'SOCKET', help: "containerd's socket" },
    'containerd-worker-gc': { type: 'bool', help: 'take from the cache by itself; default true' },
    'containerd-worker-gc-keepstorage': {
      type: 'string',
      value: 'MB[,MB[,MB]]',
      help: 'space the cache may always take, that is to be free, that it may take at most',
    },
    'containerd-worker-platform': {
      type: 'list',
      value: 'PLATFORM',
      help: 'platforms that clients are told of',
    },
    'containerd-worker-labels': { type: 'list', value: 'NAME=VALUE', help: "the worker's labels" },
    'containerd-worker-runtime': {
      type: 'string',
      value: 'NAME',
      help: 'io.containerd.runc.v2 alone',
      hidden: true,
    },
    'containerd-worker-namespace': { type: 'string', value: 'NAME', help: 'default buildkit' },
    'containerd-max-parallelism': { type: 'string', value: 'N', help: 'most steps that run at a time' },
    'containerd-worker-apparmor-profile': {
      type: 'string',
      value: 'NAME',
      help: 'AppArmor profile of steps',
    },
    'containerd-worker-selinux': { type: 'bool', help: 'give steps SELinux labels' },
    'containerd-worker-snapshotter': { type: 'string', value: 'NAME', help: 'overlayfs, native or stargz' },
    debug: { type: 'bool', help: 'log more' },
    debugaddr: { type: 'string', value: 'HOST:PORT', help: 'show /metrics and /healthz there' },
    'proxy-network': { type: 'bool', help: 'have the steps of all builds reach the network by a proxy' },
    group: { type: 'string', value: 'GROUP', help: 'group that owns the unix socket' },
    'log-format': { type: 'string', value: 'FORMAT', help: 'text or json' },
    'log-level': { type: 'string', value: 'LEVEL', help: 'trace, debug, info (default), warn or error' },
    'oci-worker': {
      type: 'string',
      value: 'BOOL',
      help: "keep images in Drydock's own store: true, false, auto",
    },
    'oci-worker-gc': { type: 'bool', help: 'take from the cache by itself; default true' },
    'oci-worker-gc-keepstorage': {
      type: 'string',
      value: 'MB[,MB[,MB]]',
      help: 'space the cache may always take, that is to be free, that it may take at most',
    },
    'oci-worker-platform': { type: 'list', value: 'PLATFORM', help: 'platforms that clients are told of' },
    'oci-worker-binary': {
      type: 'string',
      value: 'FILE',
      help: 'OCI runtime; default crun where it works, else runc',
    },
    'oci-worker-labels': { type: 'list', value: 'NAME=VALUE', help: "the worker's labels" },
    'oci-max-parallelism': { type: 'string', value: 'N', help: 'most steps that run at a time' },
    'oci-worker-apparmor-profile': { type: 'string', value: 'NAME', help: 'AppArmor profile of steps' },
    'oci-worker-selinux': { type: 'bool', help: 'give steps SELinux labels' },
    'oci-worker-snapshotter': { type: 'string', value: 'NAME', help: 'auto, overlayfs, native or stargz' },
    ...networkFlags('containerd'),
    ...networkFlags('oci'),
    root: { type: 'string', value: 'DIR', help: 'folder for all state' },
    rootless: { type: 'bool', help: 'be run by a user who is not root; that is noticed without it, too' },
    'oci-worker-no-process-sandbox': {
      type: 'bool',
      help: 'leave steps among the processes of this machine, with its /proc (rootless only)',
    },
    'oci-worker-rootless': { type: 'bool', help: 'the same', hidden: true },
    'containerd-worker-rootless': { type: 'bool', help: 'the same', hidden: true },
    tlscacert: { type: 'string', value: 'FILE', help: 'CA of client certificates' },
    tlscert: { type: 'string', value: 'FILE', help: 'certificate' },
    tlskey: { type: 'string', value: 'FILE', help: 'its key' },
    trace: { type: 'bool', help: 'log as much as there is', hidden: true },
    version: { type: 'bool', short: 'v', help: 'say which version it is, and end' },
    ...Object.fromEntries(
      idle.map((name) => [name, { type: 'list' as const, help: 'no effect', hidden: true }]),
    ),
    ...Object.fromEntries(
      idleBool.map((name) => [name, { type: 'bool' as const, help: 'no effect', hidden: true }]),
    ),
  },
  operands: [0, 0],
  async run(values, _args, ctx) {
    if (values.version) {
      ctx.stdout.write(`buildkitd drydock ${version}\n`);
      return 0;
    }
    const flags: BuildkitdConfig = {
      root: values.root,
      rootless: values.rootless ?? values['oci-worker-rootless'] ?? values['containerd-worker-rootless'],
      proxyNetwork: values['proxy-network'],
      debug: values.trace || (values.debug ?? (ctx.debug ? true : undefined)),
      logFormat: logFormatOf(values['log-format']),
      logLevel: levelOf(values['log-level']),
      entitlements: someOf(values['allow-insecure-entitlement'].flatMap((text) => text.split(','))),
      addresses: someOf(values.addr),
      metricsAddress: values.debugaddr || undefined,
      group: values.group,
      cdi: { disabled: values['cdi-disabled'], specDirs: someOf(values['cdi-spec-dir']) },
      tls:
        values.tlscert || values.tlskey || values.tlscacert
          ? { cert: values.tlscert, key: values.tlskey, ca: values.tlscacert }
          : undefined,
      oci: {
        enabled: threeWay('oci-worker', values['oci-worker']),
        labels: labelsOf(values['oci-worker-labels']),
        snapshotter: values['oci-worker-snapshotter'],
        apparmorProfile: values['oci-worker-apparmor-profile'] || undefined,
        selinux: values['oci-worker-selinux'],
        binary: values['oci-worker-binary'] || undefined,
        noProcessSandbox: values['oci-worker-no-process-sandbox'],
        maxParallelism: countOf('oci-max-parallelism', values['oci-max-parallelism']),
        platforms: platformsOf(values['oci-worker-platform']),
        network: networkOf('oci', values),
        gc: gcOfFlags(values['oci-worker-gc'], values['oci-worker-gc-keepstorage']),
      },
      containerd: {
        enabled: threeWay('containerd-worker', values['containerd-worker']),
        labels: labelsOf(values['containerd-worker-labels']),
        snapshotter: values['containerd-worker-snapshotter'],
        apparmorProfile: values['containerd-worker-apparmor-profile'] || undefined,
        selinux: values['containerd-worker-selinux'],
        maxParallelism: countOf('containerd-max-parallelism', values['containerd-max-parallelism']),
        platforms: platformsOf(values['containerd-worker-platform']),
        network: networkOf('containerd', values),
        gc: gcOfFlags(values['containerd-worker-gc'], values['containerd-worker-gc-keepstorage']),
        address: values['containerd-worker-addr'],
        namespace: values['containerd-worker-namespace'],
      },
    };
    const { config, warnings } = fileConfig(values.config);
    const { daemon: settings, buildkit } = buildkitdSetup(flags, config, ctx.root);
    const writeLog = (line: string) => void ctx.stderr.write(line);
    const log = createLog({ format: settings.logFormat ?? 'text', level: 'info', write: writeLog });
    for (const warning of warnings) log('warn', warning);
    const given = new Map<string, unknown>(Object.entries(values));
    const runtime = values['containerd-worker-runtime'] ?? '';
    if (!containerdRuntimes.includes(runtime)) {
      throw fail(
        'unsupported',
        'client',
        `--containerd-worker-runtime=${runtime} is not obeyed: ${otherRuntime}`,
      );
    }
    for (const name of [...idle, ...idleBool]) {
      if (isGiven(given.get(name))) log('warn', `--${name} has no effect here`);
    }
    const daemon = await startDaemon({
      ...stepRightsFromEnv(ctx.env),
      ...settings,
      ...stepLimitsFromEnv(ctx.env),
      explain: explainFromEnv(ctx.env),
      cacheBuckets: (ctx.env.DRYDOCK_CACHE_BUCKET ?? '').split(',').filter((bucket) => bucket !== ''),
      noProcessSandbox: settings.noProcessSandbox ?? noProcessSandboxFromEnv(ctx.env),
      usernsRemap: usernsRemapFromEnv(ctx.env),
      metricsAddress: settings.metricsAddress ?? (ctx.env.DRYDOCK_METRICS_ADDRESS || undefined),
      shutdownTimeout: secondsOf('DRYDOCK_SHUTDOWN_TIMEOUT', ctx.env.DRYDOCK_SHUTDOWN_TIMEOUT || undefined),
      sharedCachePlace: settings.sharedCachePlace ?? (ctx.env.DRYDOCK_SHARED_CACHE || undefined),
      proxyNetwork: settings.proxyNetwork ?? proxyFromEnv(ctx.env),
      trusted: authoritiesFromEnv(ctx.env),
      imagePolicy: ctx.imagePolicy,
      network: withDefaultCni({ ...networkFromEnv(ctx.env), ...settings.network }),
      insecureRegistries: [...(settings.insecureRegistries ?? []), ...ctx.insecureRegistries],
      writeLog,
      grpc: async (host) => (await import('../../api/buildkit/server.ts')).buildkitApi(host, buildkit),
    });
    await serve(daemon, ctx.signal);
    return 0;
  },
});

/** Without another word, buildkitd uses the configuration at its usual place if it is there. */
function withDefaultCni(options: NetworkOptions): NetworkOptions {
  const file = '/etc/buildkit/cni.json';
  if (options.cni?.configPath !== undefined || !existsSync(file)) return options;
  return { ...options, cni: { ...options.cni, configPath: file } };
}

function fileConfig(given: string | undefined): ReadConfig {
  const file = given ?? (existsSync(defaultConfigFile) ? defaultConfigFile : undefined);
  if (file === undefined) return { config: {}, warnings: [] };
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw fail('invalid', 'client', `failed to load config from ${file}`, { cause });
  }
  return readBuildkitdToml(text, file);
}

/** Whether a flag asks for something. */
function isGiven(value: unknown): boolean {
  if (!Array.isArray(value)) return value !== undefined && value !== false;
  return value.some((each) => each !== '');
}

function countOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined || text === '' || text === '0') return undefined;
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw fail('invalid', 'client', `--${name}=${text} is no number`);
}

function platformsOf(list: readonly string[]): Platform[] | undefined {
  const names = list.flatMap((text) => text.split(',')).filter((text) => text !== '');
  return names.length === 0 ? undefined : names.map(parsePlatform);
}

/** `keep`: MB that may stay, that are to be free, that may be taken at most. */
function someOf(list: string[]): string[] | undefined {
  return list.length > 0 ? list : undefined;
}

function threeWay(name: string, text: string | undefined): boolean | undefined {
  if (text === undefined || text === '' || text.toLowerCase() === 'auto') return undefined;
  const on = parseBool(text);
  if (on !== undefined) return on;
  throw fail('invalid', 'client', `--${name}=${text} is none of true, false and auto`);
}

function logFormatOf(text: string | undefined): 'text' | 'json' | undefined {
  if (text === undefined || text === 'text' || text === 'json') return text;
  throw fail('invalid', 'client', `unsupported log type ${JSON.stringify(text)}: want text or json`);
}

function levelOf(text: string | undefined): BuildkitdConfig['logLevel'] {
  if (text === undefined || text === '') return undefined;
  const level = logLevelOf(text);
  if (level !== undefined) return level;
  throw fail('invalid', 'client', `invalid --log-level ${JSON.stringify(text)}`, {
    hint: 'Levels: trace, debug, info, warn, error.',
  });
}

function labelsOf(list: readonly string[]): Record<string, string> | undefined {
  if (list.length === 0) return undefined;
  return Object.fromEntries(
    list
      .flatMap((text) => text.split(','))
      .map((text) => {
        const at = text.indexOf('=');
        if (at < 1) throw fail('invalid', 'client', `expecting key-value pair, got ${JSON.stringify(text)}`);
        return [text.slice(0, at), text.slice(at + 1)];
      }),
  );
}
