/** The three builders under one face, each on its own fresh state in the bench's folder. */
import { execFileSync } from 'node:child_process';
import { type Bench, drydockCommand, folderOf } from '../bench.ts';
import { findBuildah } from '../kit/buildah.ts';
import { startDockerd } from '../kit/daemons.ts';
import { measure, type Sample } from '../kit/measure.ts';
import { Docker, dockerCli, dockerConfig, hasBuildKit } from './docker-client.ts';

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

/** dockerd and the docker client, with BuildKit where the client can. */
export async function dockerd(bench: Bench, base: string): Promise<Builder> {
  const daemon = await startDockerd(bench);
  const docker = new Docker(daemon, hasBuildKit() ? '1' : '0', dockerConfig(bench));
  docker.run('pull', base);
  return {
    name: 'dockerd',
    version: daemon.version,
    build: (context, tag) => docker.build(context, tag),
    archive: (context, tag, file, gzip) => {
      if (gzip) return undefined;
      const script = '"$1" build --network=host -t "$2" "$3" && "$1" save -o "$4" "$2"';
      return docker.timed(['sh', '-ec', script, 'sh', dockerCli, tag, context, file]);
    },
    forget: () => docker.forget(...tags),
  };
}

/** buildah, when it is there. */
export function buildah(bench: Bench, base: string): Builder[] {
  const found = findBuildah(bench);
  if (found === undefined) return [];
  found.run('pull', '--tls-verify=false', base);
  return [
    {
      name: 'buildah',
      version: found.version,
      build: (context, tag) => measure(found.build(context, tag), { servers: [] }),
      archive: (context, tag, file, gzip) => {
        const build = found.build(context, tag);
        const compression = gzip ? [] : ['--disable-compression'];
        const push = found.line('push', ...compression, tag, `oci-archive:${file}`);
        const quote = (words: string[]) => words.map((word) => `'${word}'`).join(' ');
        return measure(['sh', '-ec', `${quote(build)} && ${quote(push)}`], { servers: [] });
      },
      forget() {
        for (const tag of tags) {
          try {
            found.run('rmi', '-f', tag);
          } catch {
            // Not built yet.
          }
        }
        found.run('rmi', '--prune', '-f');
      },
    },
  ];
}
