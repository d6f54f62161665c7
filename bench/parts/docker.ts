/** docker's CLI 20.10 on our daemon and on dockerd, with BuildKit and without. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { type Bench, commandBefore, folderOf } from '../bench.ts';
import { serveBase } from '../kit/base.ts';
import { compare, comparison, type Scenario } from '../kit/compare.ts';
import { changeOneFile, manyFiles } from '../kit/contexts.ts';
import { type Daemon, startDockerd, startDrydock } from '../kit/daemons.ts';
import { measure, type Sample } from '../kit/measure.ts';

const cli = ['/usr/bin/docker', '/usr/local/bin/docker'].find(existsSync) ?? 'docker';
const tag = 'localhost/bench:docker';

/** A daemon with docker's CLI, whose builds go by version 1 or 2 of the API. */
class Docker {
  readonly name: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #daemon: Daemon;

  constructor(daemon: Daemon, buildkit: '0' | '1', config: string) {
    this.name = daemon.name;
    this.#daemon = daemon;
    this.#env = { DOCKER_HOST: `unix://${daemon.socket}`, DOCKER_BUILDKIT: buildkit, DOCKER_CONFIG: config };
  }

  run(...args: string[]): void {
    const env = { ...process.env, ...this.#env };
    execFileSync(cli, args, { stdio: ['ignore', 'ignore', 'pipe'], env, timeout: 120_000 });
  }

  build(context: string): Promise<Sample> {
    return measure([cli, 'build', '-t', tag, context], { servers: this.#daemon.servers, env: this.#env });
  }

  /** Forgets all steps but keeps the base image. */
  forget(): void {
    try {
      this.run('rmi', '-f', tag);
    } catch {
      // Not built yet.
    }
    this.run('image', 'prune', '-f');
    this.run('builder', 'prune', '-af');
  }
}

function scenariosOf(context: string): Scenario<Docker>[] {
  return [
    {
      name: 'cold',
      prepare: (docker) => docker.forget(),
      run: (docker) => docker.build(context),
    },
    { name: 'all cached', prepare: () => {}, run: (docker) => docker.build(context) },
    {
      name: 'one file changed',
      prepare: () => changeOneFile(context),
      run: (docker) => docker.build(context),
    },
  ];
}

export async function docker(bench: Bench): Promise<string> {
  const base = await serveBase(bench);
  const daemons = [
    commandBefore === undefined
      ? await startDockerd(bench)
      : await startDrydock(bench, 'local', 'daemon', { kind: 'before', command: commandBefore }),
    await startDrydock(bench, 'local'),
    await startDrydock(bench, 'containerd'),
  ];
  const config = folderOf(bench, 'docker-config');
  const context = manyFiles(bench.folder, base, 3);
  const tables: string[] = [];
  for (const buildkit of ['1', '0'] as const) {
    const contenders = daemons.map((daemon) => new Docker(daemon, buildkit, config));
    for (const contender of contenders) contender.run('pull', base);
    const results = await compare(bench, contenders, scenariosOf(context));
    const [peer = '', ...ours] = contenders.map(({ name }) => name);
    tables.push(`DOCKER_BUILDKIT=${buildkit}`, comparison(results, { ours, peers: [peer] }));
  }
  const versions = [
    execFileSync(cli, ['--version'], { encoding: 'utf8' }).trim(),
    ...daemons.map((d) => d.version),
  ];
  return [
    `3 RUN steps and COPY of 5,000 files, by the same client; medians of ${bench.runs}.`,
    'CPU is that of client, daemon, its containerd and the containers.',
    ...tables,
    [...new Set(versions)].map((version) => `- ${version}`).join('\n'),
  ].join('\n\n');
}
