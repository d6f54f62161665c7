/** docker's CLI on a daemon that speaks its API. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, folderOf } from '../bench.ts';
import type { Daemon } from '../kit/daemons.ts';
import { measure, type Sample } from '../kit/measure.ts';

/** The client: Debian's, else the one in PATH. `DOCKER` names another. */
export const dockerCli =
  process.env.DOCKER ?? ['/usr/local/bin/docker', '/usr/bin/docker'].find(existsSync) ?? 'docker';

/** A configuration of docker's CLI, with the buildx that `BUILDX` names or that the peers' root has, if any. */
export function dockerConfig(bench: Bench): string {
  const folder = folderOf(bench, 'docker-config');
  const root = process.env.BENCH_PEERS ?? '/';
  const buildx = process.env.BUILDX ?? join(root, 'usr/libexec/docker/cli-plugins/docker-buildx');
  if (existsSync(buildx)) {
    mkdirSync(join(folder, 'cli-plugins'));
    symlinkSync(buildx, join(folder, 'cli-plugins/docker-buildx'));
  }
  return folder;
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

  build(context: string): Promise<Sample> {
    return measure([dockerCli, 'build', '--network=host', '-t', tag, context], {
      servers: this.daemon.servers,
      env: this.#env,
    });
  }

  measured(...args: string[]): Promise<Sample> {
    return measure([dockerCli, ...args], { servers: this.daemon.servers, env: this.#env });
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
