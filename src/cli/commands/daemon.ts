import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  daemonConfig,
  type SettingValues,
  settings,
  settingsFromEnv,
  settingsFromFile,
  startDaemon,
} from '../../daemon/index.ts';
import { defaultRoot } from '../../engine/index.ts';
import { configFolder } from '../../linux/index.ts';
import { type CommandContext, command } from '../command.ts';
import type { FlagTable } from '../flags.ts';
import { serve } from '../serve.ts';

const defaultConfigFile = join(configFolder('drydock'), 'daemon.json');

const flags: FlagTable = {
  config: {
    type: 'string',
    value: 'FILE',
    help: `JSON file of these settings; default: ${defaultConfigFile} if it is there`,
  },
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
  async run(values, _args, ctx) {
    const config = daemonConfig(sources(values as SettingValues & { config?: string }, ctx), ctx.root);
    const daemon = await startDaemon({
      ...config,
      insecureRegistries: [...(config.insecureRegistries ?? []), ...ctx.insecureRegistries],
      logLevel: config.logLevel ?? (ctx.debug ? 'debug' : undefined),
      grpc: async (host) => (await import('../../api/buildkit/server.ts')).buildkitApi(host),
      writeLog: (line) => void ctx.stderr.write(line),
    });
    await serve(daemon, ctx.signal);
    return 0;
  },
});

/** Flags, then environment, then file. */
function sources({ config, ...given }: SettingValues & { config?: string }, ctx: CommandContext) {
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
  return [
    set,
    root,
    store,
    settingsFromEnv(ctx.env),
    ...(file === undefined ? [] : [settingsFromFile(file)]),
  ];
}
