/** The `drydock` command: finds the command, opens what it needs, prints its error, cleans up. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Engine, SharedCacheOptions } from '../engine/index.ts';
import { fail, nearest, toDrydockError } from '../errors/index.ts';
import { version } from '../version.ts';
import { warmPool } from '../workers/index.ts';
import { type Command, type CommandContext, helpText } from './command.ts';
import { errorText } from './error-text.ts';
import { globalFlags } from './globals.ts';
import { grouped } from './groups.ts';

const commands: Record<string, { summary: string; load: () => Promise<{ default: Command }> }> = {
  bake: { summary: 'Build the targets of a bake or compose file', load: () => import('./commands/bake.ts') },
  binfmt: {
    summary: 'Show, install or remove emulators of other platforms',
    load: () => import('./commands/binfmt.ts'),
  },
  build: { summary: 'Build an image from a Dockerfile', load: () => import('./commands/build.ts') },
  buildctl: {
    summary: "Ask a buildkitd for its workers, its cache, or a connection: buildctl's commands",
    load: () => import('./commands/buildctl.ts'),
  },
  buildkitd: {
    summary: 'Serve as buildkitd: its flags and its buildkitd.toml',
    load: () => import('./commands/buildkitd.ts'),
  },
  cache: {
    summary: 'Show, export, import or remove cache mounts',
    load: () => import('./commands/cache.ts'),
  },
  daemon: {
    summary: 'Serve builds and images to docker and BuildKit clients',
    load: () => import('./commands/daemon.ts'),
  },
  debug: {
    summary: 'Open a shell where a step of a build would run',
    load: () => import('./commands/debug.ts'),
  },
  doctor: { summary: 'Say what this machine has and lacks', load: () => import('./commands/doctor.ts') },
  du: { summary: 'Show what the build cache takes', load: () => import('./commands/du.ts') },
  explain: { summary: 'Say why steps were not cached', load: () => import('./commands/explain.ts') },
  history: {
    summary: "Show a daemon's builds, or the steps that made an image",
    load: () => import('./commands/history.ts'),
  },
  image: {
    summary: 'Remove images that nothing needs: image prune',
    load: () => import('./commands/image.ts'),
  },
  images: { summary: 'List images', load: () => import('./commands/images.ts') },
  imagetools: {
    summary: 'Make images of those that registries have, or show them',
    load: () => import('./commands/imagetools.ts'),
  },
  inspect: { summary: "Show an image's details as JSON", load: () => import('./commands/inspect.ts') },
  lock: { summary: 'Pin the sources of a build in a file', load: () => import('./commands/lock.ts') },
  load: { summary: 'Load images from a tar', load: () => import('./commands/load.ts') },
  login: { summary: 'Log in to a registry', load: () => import('./commands/login.ts') },
  logout: { summary: 'Forget the account of a registry', load: () => import('./commands/logout.ts') },
  policy: { summary: "Check a daemon's policy file", load: () => import('./commands/policy.ts') },
  prune: { summary: 'Remove build cache', load: () => import('./commands/prune.ts') },
  pull: { summary: 'Pull an image from a registry', load: () => import('./commands/pull.ts') },
  push: { summary: 'Push an image to a registry', load: () => import('./commands/push.ts') },
  rmi: { summary: 'Remove images', load: () => import('./commands/rmi.ts') },
  save: { summary: 'Save images to a tar', load: () => import('./commands/save.ts') },
  sign: { summary: 'Sign images in a registry', load: () => import('./commands/sign.ts') },
  store: { summary: 'Copy images and cache between stores', load: () => import('./commands/store.ts') },
  tag: { summary: 'Give an image another name', load: () => import('./commands/tag.ts') },
  token: { summary: 'Make a token for clients of a daemon', load: () => import('./commands/token.ts') },
  ui: { summary: "Open the web page of a daemon's builds", load: () => import('./commands/ui.ts') },
  unshare: {
    summary: 'Run a command in the user namespace of rootless builds',
    load: () => import('./commands/unshare.ts'),
  },
  verify: { summary: 'Verify signatures of images', load: () => import('./commands/verify.ts') },
  version: { summary: 'Show the version', load: () => import('./commands/version.ts') },
};

/** Runs a command line (without the program's name) and returns the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const { stderr, stdout, env } = process;
  let engine: Promise<Engine> | undefined;
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Error(name));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  stdout.on('error', (err: NodeJS.ErrnoException) => {
    if (err.code === 'EPIPE') controller.abort(err);
  });
  let debug = false;
  let ctx: CommandContext | undefined;
  try {
    const globals = globalFlags(argv, env);
    debug = globals.debug;
    const [word, ...words] = globals.rest;
    const [name, rest] = word === undefined ? [word, words] : grouped(word, words);
    if (name === '--version' || name === '-v') {
      stdout.write(`drydock ${version}\n`);
      return 0;
    }
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
      const topic = name === 'help' ? rest[0] : undefined;
      stdout.write(topic === undefined ? overview() : helpText(topic, await find(topic)));
      return 0;
    }
    if (name === 'completion') {
      stdout.write(await completion(rest[0]));
      return 0;
    }
    if (name === 'build' && globals.host === undefined) lookAhead(rest);
    const command = await find(name);
    if (rest.includes('--help') || rest.includes('-h')) {
      stdout.write(helpText(name, command));
      return 0;
    }
    const context: CommandContext = {
      ...globals,
      stdout,
      stderr,
      env,
      signal: controller.signal,
      sharedCachePlace: env.DRYDOCK_SHARED_CACHE || undefined,
      async remote() {
        if (globals.host === undefined) return undefined;
        const { findEndpoint } = await import('./remote/endpoint.ts');
        const { signal } = controller;
        return { endpoint: await findEndpoint(globals.host, env, signal), signal, env };
      },
      engine() {
        const shared = command.fills === true ? context.sharedCachePlace : undefined;
        engine ??= import('../engine/engine.ts').then(async ({ openEngine }) => {
          const sharedCache = shared === undefined ? undefined : await sharedCacheOf(shared, context);
          return openEngine({ ...globals, useReserve: command.fills !== true, sharedCache });
        });
        return engine;
      },
    };
    ctx = context;
    return (await command.run(rest, context)) ?? 0;
  } catch (err) {
    const error = toDrydockError(err);
    if (error.code === 'canceled') {
      stderr.write('ERROR: canceled\n');
      return 130;
    }
    stderr.write(errorText(error));
    if (debug || ctx?.debug || error.code === 'internal') stderr.write(`${trace(error)}\n`);
    return 1;
  } finally {
    await (await engine?.catch(() => undefined))?.close();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

/** The script by which a shell completes command lines. */
async function completion(shell: string | undefined): Promise<string> {
  const { completionScript } = await import('./completion.ts');
  const all = Object.entries(commands).map(async ([name, { summary, load }]) => {
    const { flags, usage } = (await load()).default;
    return [name, { summary, usage, flags }] as const;
  });
  return completionScript(shell, new Map(await Promise.all(all)));
}

/** The context is looked at in a thread of its own, whose start need not wait for ours. */
function lookAhead(args: readonly string[]): void {
  const dir = resolve(args.at(-1) ?? '.');
  warmPool(['fs.checksum'], existsSync(dir) ? { name: 'fs.glance', args: { dir } } : undefined);
}

async function find(name: string): Promise<Command> {
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (entry !== undefined) return (await entry.load()).default;
  const like = nearest(name, Object.keys(commands));
  throw fail('invalid', 'client', `unknown command: drydock ${name}`, {
    hint:
      like === undefined ? 'Run `drydock --help` to see the commands.' : `Did you mean \`drydock ${like}\`?`,
  });
}

/** The cache of a fleet that a build is to use. Throws `invalid`. */
async function sharedCacheOf(place: string, { env, stderr }: CommandContext): Promise<SharedCacheOptions> {
  const [{ parseSharedCache }, { dockerConfigCredentials }] = await Promise.all([
    import('../shared-cache/spec.ts'),
    import('../session/docker-config.ts'),
  ]);
  return {
    spec: parseSharedCache(place, env),
    credentials: dockerConfigCredentials(env),
    say: (text) => void stderr.write(`WARNING: ${text}\n`),
    // A command has nobody who goes on after it.
    wait: 600_000,
  };
}

function overview(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length)) + 3;
  const list = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}${summary}\n`);
  return `Usage: drydock [--root DIR] [--host ADDRESS] [--image-store local|containerd] [--insecure-registry HOST] [--image-policy FILE] [--debug] COMMAND

Builds container images. \`drydock COMMAND --help\` shows a command's flags.

Commands:
${list.join('')}
\`drydock completion bash|zsh|fish\` prints a script that has the shell complete commands and flags.
With --host (or $DRYDOCK_HOST) the daemon there does the work (unix://, tcp://, kube://NAMESPACE/LABEL=VALUE); $DRYDOCK_TOKEN and $DRYDOCK_CERT_PATH say who asks.
State is kept under --root (or $DRYDOCK_ROOT): /var/lib/drydock for root, the user's data folder otherwise.
Images are kept there too, or in a containerd with --image-store containerd (or $DRYDOCK_IMAGE_STORE), which
--containerd-address and --containerd-namespace (default moby) name. --snapshotter is overlayfs, native, stargz or auto.
`;
}

function trace(error: Error): string {
  const parts: string[] = [];
  for (let err: unknown = error, i = 0; err instanceof Error && i < 8; err = err.cause, i++)
    parts.push(err.stack ?? err.message);
  return parts.join('\ncaused by: ');
}
