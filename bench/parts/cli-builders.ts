/** The three builders under one face, each on its own fresh state in the bench's folder. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, drydockCommand, folderOf } from '../bench.ts';
import { startDockerd } from '../kit/daemons.ts';
import { measure, type Sample } from '../kit/measure.ts';

export interface Builder {
  readonly name: string;
  readonly version: string;
  /** Builds a folder under a tag. */
  build(context: string, tag: string): Promise<Sample>;
  /** Builds and writes the image as an archive; `gzip` layers or plain ones. Undefined: it cannot. */
  archive(context: string, tag: string, file: string, gzip: boolean): Promise<Sample> | undefined;
  /** Forgets all cached steps but keeps the base image. */
  forget(): void;
}

const quiet = { stdio: ['ignore', 'ignore', 'pipe'] as ['ignore', 'ignore', 'pipe'] };

/** Drydock, no daemon: the bundle of this clone, or the command `bin` of another. */
export function drydock(bench: Bench, base: string, name = 'drydock', bin = drydockCommand): Builder {
  const state = folderOf(bench, name);
  const env = { DRYDOCK_ROOT: state };
  const run = (...args: string[]) => execFileSync(bin, args, { ...quiet, env: { ...process.env, ...env } });
  run('pull', base);
  return {
    name,
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
  };
}

/** Names that scenarios give their images; removed between cold runs. */
export const tags: string[] = [];

/** dockerd with its BuildKit, and the docker client. */
export async function dockerd(bench: Bench, base: string): Promise<Builder> {
  const { socket, version, servers } = await startDockerd(bench);
  const env = {
    DOCKER_HOST: `unix://${socket}`,
    DOCKER_BUILDKIT: '1',
    DOCKER_CONFIG: folderOf(bench, 'docker-config'),
  };
  const client = ['/usr/bin/docker', '/usr/local/bin/docker'].find(existsSync) ?? 'docker';
  const run = (...args: string[]) =>
    execFileSync(client, args, { ...quiet, env: { ...process.env, ...env }, timeout: 120_000 });
  run('pull', base);
  return {
    name: 'dockerd',
    version,
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
  };
}

/** buildah with layers cached, on runc (crun refuses hybrid cgroups). */
export function buildah(bench: Bench, base: string): Builder {
  const state = folderOf(bench, 'buildah');
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
  };
}
