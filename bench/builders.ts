/** The three builders under one face, each on its own fresh state in the bench's folder. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { measure, type Sample } from './measure.ts';
import { startServer } from './servers.ts';

export interface Builder {
  readonly name: string;
  readonly version: string;
  /** Builds a folder under a tag. */
  build(context: string, tag: string): Promise<Sample>;
  /** Builds and writes the image as an archive; `gzip` layers or plain ones. Undefined: it cannot. */
  archive(context: string, tag: string, file: string, gzip: boolean): Promise<Sample> | undefined;
  /** Forgets all cached steps but keeps the base image. */
  forget(): void;
  stop(): Promise<void>;
}

const quiet = { stdio: ['ignore', 'ignore', 'pipe'] as ['ignore', 'ignore', 'pipe'] };

/** Drydock: the bundle of this clone, no daemon. */
export function drydock(root: string, base: string): Builder {
  const bin = new URL('../bin/drydock', import.meta.url).pathname;
  const state = join(root, 'drydock');
  const env = { DRYDOCK_ROOT: state };
  const run = (...args: string[]) => execFileSync(bin, args, { ...quiet, env: { ...process.env, ...env } });
  run('pull', base);
  return {
    name: 'drydock',
    version: execFileSync(bin, ['--version'], { encoding: 'utf8' }).trim(),
    build: (context, tag) => measure([bin, 'build', '-t', tag, context], { servers: [], env }),
    archive: (context, tag, file, gzip) =>
      measure(
        [
          bin,
          'build',
          '-t',
          tag,
          '-o',
          `type=oci,dest=${file},compression=${gzip ? 'gzip' : 'uncompressed'}`,
          context,
        ],
        { servers: [], env },
      ),
    forget() {
      for (const tag of tags)
        execFileSync(bin, ['rmi', '-f', tag], { ...quiet, env: { ...process.env, ...env } });
      run('prune', '--all');
    },
    async stop() {},
  };
}

/** Names that scenarios give their images; removed between cold runs. */
export const tags: string[] = [];

/** dockerd with its BuildKit, and the docker client. */
export async function dockerd(root: string, base: string): Promise<Builder> {
  const state = join(root, 'dockerd');
  mkdirSync(state, { recursive: true });
  const host = `unix://${state}/d.sock`;
  const daemon = await startServer('dockerd', [
    ...[
      '--data-root',
      join(state, 'data'),
      '--exec-root',
      join(state, 'exec'),
      '--pidfile',
      join(state, 'pid'),
    ],
    ...['-H', host, '--log-level', 'error'],
  ]);
  const env = { DOCKER_HOST: host, DOCKER_BUILDKIT: '1', DOCKER_CONFIG: join(state, 'config') };
  const client = ['/usr/bin/docker', '/usr/local/bin/docker'].find(existsSync) ?? 'docker';
  const run = (...args: string[]) =>
    execFileSync(client, args, { ...quiet, env: { ...process.env, ...env }, timeout: 120_000 });
  for (let i = 0; ; i++) {
    try {
      run('version');
      break;
    } catch (err) {
      if (i === 100) throw err;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  run('pull', base);
  const servers = [daemon.pid];
  return {
    name: 'dockerd',
    version: execFileSync('dockerd', ['--version'], { encoding: 'utf8' }).trim(),
    build: (context, tag) => measure([client, 'build', '-t', tag, context], { servers, env }),
    archive: (context, tag, file, gzip) =>
      gzip
        ? undefined
        : measure(
            [
              'sh',
              '-ec',
              `"$1" build -t "$2" "$3" && "$1" save -o "$4" "$2"`,
              'sh',
              client,
              tag,
              context,
              file,
            ],
            {
              servers,
              env,
            },
          ),
    forget() {
      for (const tag of tags) {
        try {
          run('rmi', '-f', tag);
        } catch {
          // Not built yet.
        }
      }
      run('builder', 'prune', '-af');
    },
    stop: () => daemon.stop(),
  };
}

/** buildah with layers cached, on runc (crun refuses hybrid cgroups). */
export function buildah(root: string, base: string): Builder {
  const state = join(root, 'buildah');
  mkdirSync(state, { recursive: true });
  const global = [
    '--root',
    join(state, 'root'),
    '--runroot',
    join(state, 'run'),
    '--storage-driver',
    'overlay',
  ];
  const command = (name: string, ...args: string[]) => ['buildah', ...global, name, ...args];
  const run = (name: string, ...args: string[]) => {
    const [file = '', ...rest] = command(name, ...args);
    execFileSync(file, rest, quiet);
  };
  run('pull', '--tls-verify=false', base);
  const bud = ['--layers', '--runtime', 'runc', '--tls-verify=false', '--pull-never'];
  return {
    name: 'buildah',
    version: execFileSync('buildah', ['--version'], { encoding: 'utf8' }).trim(),
    build: (context, tag) => measure(command('bud', ...bud, '-t', tag, context), { servers: [] }),
    archive: (context, tag, file, gzip) => {
      const build = command('bud', ...bud, '-t', tag, context);
      const push = command('push', ...(gzip ? [] : ['--disable-compression']), tag, `oci-archive:${file}`);
      const quote = (words: string[]) => words.map((word) => `'${word}'`).join(' ');
      return measure(['sh', '-ec', `${quote(build)} && ${quote(push)}`], { servers: [] });
    },
    forget() {
      for (const tag of tags) {
        try {
          run('rmi', '-f', tag);
        } catch {
          // Not built yet.
        }
      }
      run('rmi', '--prune', '-f');
    },
    async stop() {},
  };
}

/** Empties a folder of the bench. */
export function fresh(path: string): string {
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  return path;
}
