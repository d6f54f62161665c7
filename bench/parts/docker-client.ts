/** docker's CLI on a daemon that speaks its API. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Bench, folderOf } from '../bench.ts';
import type { Daemon } from '../kit/daemons.ts';
import { measure, type Sample } from '../kit/measure.ts';

/** The client: Debian's, else the one in PATH. `DOCKER` names another. */
export const dockerCli =
  process.env.DOCKER ?? ['/usr/local/bin/docker', '/usr/bin/docker'].find(existsSync) ?? 'docker';

/** docker's plugin for BuildKit: what `BUILDX` names, else the peers' or this machine's; undefined when there is none. */
export function findBuildx(): string | undefined {
  const given = process.env.BUILDX;
  if (given !== undefined && given !== '') return given;
  const folders = [
    'usr/libexec/docker/cli-plugins',
    'usr/lib/docker/cli-plugins',
    'usr/local/lib/docker/cli-plugins',
  ];
  const roots = [process.env.BENCH_PEERS ?? '/', '/'];
  const places = roots.flatMap((root) => folders.map((folder) => join(root, folder, 'docker-buildx')));
  return [...places, join(homedir(), '.docker/cli-plugins/docker-buildx')].find(existsSync);
}

/** A configuration of docker's CLI, with the buildx that was found, if any. */
export function dockerConfig(bench: Bench): string {
  const folder = folderOf(bench, 'docker-config');
  const buildx = findBuildx();
  if (buildx !== undefined) {
    mkdirSync(join(folder, 'cli-plugins'));
    symlinkSync(buildx, join(folder, 'cli-plugins/docker-buildx'));
  }
  return folder;
}

/** Whether docker's CLI can have BuildKit build: since version 23 it needs buildx for that. */
export function hasBuildKit(): boolean {
  const said = execFileSync(dockerCli, ['--version'], { encoding: 'utf8' });
  return Number(/version (\d+)/.exec(said)?.[1] ?? 0) < 23 || findBuildx() !== undefined;
}

const tag = 'localhost/bench:docker';

/** A daemon with docker's CLI, whose builds go by version 1 or 2 of the API. */
export class Docker {
  readonly name: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly daemon: Daemon;

  constructor(daemon: Daemon, buildkit: '0' | '1', config: string) {
    this.name = daemon.name;
    this.daemon = daemon;
    this.#env = { DOCKER_HOST: `unix://${daemon.socket}`, DOCKER_BUILDKIT: buildkit, DOCKER_CONFIG: config };
  }

  run(...args: string[]): void {
    const env = { ...process.env, ...this.#env };
    execFileSync(dockerCli, args, { stdio: ['ignore', 'ignore', 'pipe'], env, timeout: 120_000 });
  }

  build(context: string, name = tag): Promise<Sample> {
    return this.measured('build', '--network=host', '-t', name, context);
  }

  measured(...args: string[]): Promise<Sample> {
    return this.timed([dockerCli, ...args]);
  }

  /** Runs any command in docker's environment. */
  timed(command: readonly string[]): Promise<Sample> {
    return measure(command, { servers: this.daemon.servers, env: this.#env });
  }

  /** Forgets all steps, what was built, and the images of these names, but keeps the base image. */
  forget(...names: string[]): void {
    for (const name of [tag, ...names]) {
      try {
        this.run('rmi', '-f', name);
      } catch {
        // Not there yet.
      }
    }
    this.run('image', 'prune', '-f');
    this.run('builder', 'prune', '-af');
  }
}
