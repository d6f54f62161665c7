/** The `drydock` command: finds the command, opens what it needs, prints its error, cleans up. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Engine } from '../engine/index.ts';
import { fail, nearest, toDrydockError } from '../errors/index.ts';
import { version } from '../version.ts';
import { warmPool } from '../workers/index.ts';
import { type Command, type CommandContext, helpText } from './command.ts';
import { errorText } from './error-text.ts';
import { globalFlags } from './globals.ts';

const commands: Record<string, { summary: string; load: () => Promise<{ default: Command }> }> = {
  binfmt: {
    summary: 'Show, install or remove emulators of other platforms',
    load: () => import('./commands/binfmt.ts'),
  },
  build: { summary: 'Build an image from a Dockerfile', load: () => import('./commands/build.ts') },
  buildkitd: {
    summary: 'Serve as buildkitd: its flags and its buildkitd.toml',
    load: () => import('./commands/buildkitd.ts'),
  },
  daemon: {
    summary: 'Serve builds and images to docker and BuildKit clients',
    load: () => import('./commands/daemon.ts'),
  },
  doctor: { summary: 'Say what this machine has and lacks', load: () => import('./commands/doctor.ts') },
  du: { summary: 'Show what the build cache takes', load: () => import('./commands/du.ts') },
  explain: { summary: 'Say why steps were not cached', load: () => import('./commands/explain.ts') },
  images: { summary: 'List images', load: () => import('./commands/images.ts') },
  inspect: { summary: "Show an image's details as JSON", load: () => import('./commands/inspect.ts') },
  lock: { summary: 'Pin the sources of a build in a file', load: () => import('./commands/lock.ts') },
  load: { summary: 'Load images from a tar', load: () => import('./commands/load.ts') },
  policy: { summary: "Check a daemon's policy file", load: () => import('./commands/policy.ts') },
  prune: { summary: 'Remove build cache', load: () => import('./commands/prune.ts') },
  pull: { summary: 'Pull an image from a registry', load: () => import('./commands/pull.ts') },
  push: { summary: 'Push an image to a registry', load: () => import('./commands/push.ts') },
  rmi: { summary: 'Remove images', load: () => import('./commands/rmi.ts') },
  save: { summary: 'Save images to a tar', load: () => import('./commands/save.ts') },
  store: { summary: 'Copy images and cache between stores', load: () => import('./commands/store.ts') },
  tag: { summary: 'Give an image another name', load: () => import('./commands/tag.ts') },
  token: { summary: 'Make a token for clients of a daemon', load: () => import('./commands/token.ts') },
  unshare: {
    summary: 'Run a command in the user namespace of rootless builds',
    load: () => import('./commands/unshare.ts'),
  },
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
  try {
    const globals = globalFlags(argv, env);
    debug = globals.debug;
    const [name, ...rest] = globals.rest;
    if (name === '--version' || name === '-v') {
      stdout.write(`drydock ${version}\n`);
      return 0;
    }
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
      const topic = name === 'help' ? rest[0] : undefined;
      stdout.write(topic === undefined ? overview() : helpText(topic, await find(topic)));
      return 0;
    }
    if ((name === 'build' || name === 'buildx') && globals.host === undefined) lookAhead(rest);
    const command = await find(name === 'buildx' && rest[0] === 'build' ? 'build' : name);
    const args = name === 'buildx' ? rest.slice(1) : rest;
    if (args.includes('--help') || args.includes('-h')) {
      stdout.write(helpText(name, command));
      return 0;
    }
    const ctx: CommandContext = {
      ...globals,
      stdout,
      stderr,
      env,
      signal: controller.signal,
      async remote() {
        if (globals.host === undefined) return undefined;
        const { endpointOf } = await import('./remote/endpoint.ts');
        return { endpoint: endpointOf(globals.host, env), signal: controller.signal, env };
      },
      engine() {
        engine ??= import('../engine/engine.ts').then(({ openEngine }) =>
          openEngine({ ...globals, useReserve: command.fills !== true }),
        );
        return engine;
      },
    };
    return (await command.run(args, ctx)) ?? 0;
  } catch (err) {
    const error = toDrydockError(err);
    if (error.code === 'canceled') {
      stderr.write('ERROR: canceled\n');
      return 130;
    }
    stderr.write(errorText(error));
    if (debug || error.code === 'internal') stderr.write(`${trace(error)}\n`);
    return 1;
  } finally {
    await (await engine?.catch(() => undefined))?.close();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

/** The context is looked at in a thread of its own, whose start need not wait for ours. */
function lookAhead(args: readonly string[]): void {
  const dir = resolve(args.at(-1) ?? '.');
  warmPool(['fs.checksum'], existsSync(dir) ? { name: 'fs.glance', args: { dir } } : undefined);
}

async function find(name: string): Promise<Command> {
  const entry = commands[name];
  if (entry !== undefined) return (await entry.load()).default;
  const like = nearest(name, Object.keys(commands));
  throw fail('invalid', 'client', `unknown command: drydock ${name}`, {
    hint:
      like === undefined ? 'Run `drydock --help` to see the commands.' : `Did you mean \`drydock ${like}\`?`,
  });
}

function overview(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length)) + 3;
  const list = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}${summary}\n`);
  return `Usage: drydock [--root DIR] [--host ADDRESS] [--image-store local|containerd] [--insecure-registry HOST] [--debug] COMMAND

Builds container images. \`drydock COMMAND --help\` shows a command's flags.

Commands:
${list.join('')}
With --host (or $DRYDOCK_HOST) the daemon there does the work; $DRYDOCK_TOKEN and $DRYDOCK_CERT_PATH say who asks.
State is kept under --root (or $DRYDOCK_ROOT): /var/lib/drydock for root, the user's data folder otherwise.
Images are kept there too, or in a containerd with --image-store containerd (or $DRYDOCK_IMAGE_STORE), which
--containerd-address and --containerd-namespace (default moby) name. --snapshotter is overlayfs, native or auto.
`;
}

function trace(error: Error): string {
  const parts: string[] = [];
  for (let err: unknown = error, i = 0; err instanceof Error && i < 8; err = err.cause, i++)
    parts.push(err.stack ?? err.message);
  return parts.join('\ncaused by: ');
}
