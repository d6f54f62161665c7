import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  createLog,
  type DockerNames,
  daemonConfig,
  type SettingValues,
  settings,
  settingsFromEnv,
  settingsFromFile,
  startDaemon,
  stopOtherDaemon,
} from '../../daemon/index.ts';
import { defaultRoot } from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import { configFolder } from '../../linux/index.ts';
import { type CommandContext, command } from '../command.ts';
import type { FlagTable } from '../flags.ts';
import { serve } from '../serve.ts';

type Given = SettingValues & { config?: string };

const defaultConfigFile = join(configFolder('drydock'), 'daemon.json');

const flags: FlagTable = {
  config: {
    type: 'string',
    value: 'FILE',
    help: `JSON file of these settings; default: ${defaultConfigFile} if it is there`,
  },
  detach: {
    type: 'bool',
    help: 'Serve in the background, once it is up; prints the first address. The log is ROOT/daemon/log',
  },
  stop: { type: 'bool', help: 'Stop the daemon that serves this root, and wait for its end' },
  ...Object.fromEntries(
    Object.entries(settings).map(([name, { type, ...rest }]) => [
      name,
      { ...rest, type: type === 'path' ? ('string' as const) : type },
    ]),
  ),
};

export default command({
  usage: '',
  summary: `Serve the Docker Engine API (and BuildKit's) for builds and images until stopped. Every flag is also a
setting of the configuration file, and a variable DRYDOCK_…. SIGHUP reads policy and certificates again; SIGTERM stops.`,
  flags,
  operands: [0, 0],
  async run({ detach, stop, ...given }, _args, ctx) {
    const { all, docker } = sources(given as Given, ctx);
    const config = daemonConfig(all, ctx.root);
    if (stop) {
      const pid = await stopOtherDaemon(config.root, ctx.signal);
      ctx.stderr.write(pid === undefined ? `no daemon serves ${config.root}\n` : '');
      return 0;
    }
    const background = await import('../background/detach.ts');
    if (detach) {
      const [first] = await background.detachDaemon(config.root, ctx);
      ctx.stdout.write(`${first}\n`);
      return 0;
    }
    const { warnings, proxies, entitlements, history, dns, gc, cgroupParent, minApiVersion, experimental } =
      docker;
    if (entitlements !== undefined && hasPolicy(config.policyFile)) {
      throw fail('invalid', 'host', '"builder.entitlements" is for daemons without a policy file', {
        hint: 'Name the entitlements in the rules of the policy (docs/security.md), or leave one of the two out.',
      });
    }
    // What this process itself asks registries and servers goes by them, and what it starts, as git.
    for (const [name, value] of Object.entries(proxies ?? {})) process.env[name] = value;
    const writeLog = await logOf(config.root, ctx);
    const log = createLog({ format: config.logFormat ?? 'text', level: 'info', write: writeLog });
    for (const warning of warnings) log('warn', warning);
    const daemon = await startDaemon({
      ...config,
      gc,
      cgroupParent,
      minApiVersion,
      experimental,
      network: dns === undefined ? config.network : { ...config.network, dns },
      insecureRegistries: [...(config.insecureRegistries ?? []), ...ctx.insecureRegistries],
      logLevel: config.logLevel ?? (ctx.debug ? 'debug' : undefined),
      grpc: async (host) =>
        (await import('../../api/buildkit/server.ts')).buildkitApi(host, { entitlements, history }),
      writeLog,
    });
    background.tellParent(daemon.addresses, ctx.env);
    await serve(daemon, ctx.signal);
    return 0;
  },
});

/** What writes the daemon's log: to stderr, and in the background to a file that does not grow for ever. */
async function logOf(root: string, { env, stderr }: CommandContext): Promise<(line: string) => void> {
  const [{ isDetached }, { logPath, logWriter }] = await Promise.all([
    import('../background/detach.ts'),
    import('../background/log-file.ts'),
  ]);
  return isDetached(env) ? logWriter(logPath(root), stderr) : (line) => void stderr.write(line);
}

/** Whether a policy file says who may do what. */
function hasPolicy(named: string | undefined): boolean {
  return named !== undefined || existsSync(join(configFolder('drydock'), 'policy.json'));
}

/** Flags, then environment, then file; and what dockerd's names in the file say besides. */
function sources({ config, ...given }: Given, ctx: CommandContext) {
  const set = Object.fromEntries(
    Object.entries(given).filter(
      ([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0),
    ),
  );
  const file =
    config ?? ctx.env.DRYDOCK_CONFIG ?? (existsSync(defaultConfigFile) ? defaultConfigFile : undefined);
  // A root or a store before the command is a flag, too.
  const root = ctx.root === defaultRoot(ctx.env) ? {} : { root: ctx.root };
  const store: SettingValues = {
    'image-store': ctx.imageStore,
    'containerd-address': ctx.containerdAddress,
    'containerd-namespace': ctx.containerdNamespace,
    snapshotter: ctx.snapshotter,
  };
  const read = file === undefined ? undefined : settingsFromFile(file);
  const docker: DockerNames = read?.docker ?? { warnings: [] };
  return { all: [set, root, store, settingsFromEnv(ctx.env), read?.settings ?? {}], docker };
}
