/** docker's CLI on our daemon and on dockerd, with BuildKit and without. */
import { execFileSync } from 'node:child_process';
import { type Bench, commandBefore } from '../bench.ts';
import { serveBase } from '../kit/base.ts';
import { compare, comparison, type Scenario } from '../kit/compare.ts';
import { changeOneFile, manyFiles } from '../kit/contexts.ts';
import { startDockerds, startDrydock } from '../kit/daemons.ts';
import { Docker, dockerCli, dockerConfig, hasBuildKit } from './docker-client.ts';

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
  const others =
    commandBefore === undefined
      ? await startDockerds(bench)
      : [await startDrydock(bench, 'local', 'daemon', { kind: 'before', command: commandBefore })];
  const own = [await startDrydock(bench, 'local'), await startDrydock(bench, 'containerd')];
  const daemons = [...others, ...own];
  const config = dockerConfig(bench);
  const context = manyFiles(bench.folder, base, 3);
  const tables: string[] = [];
  for (const buildkit of ['1', '0'] as const) {
    if (buildkit === '1' && !hasBuildKit()) {
      tables.push(
        'DOCKER_BUILDKIT=1: docker’s CLI has no buildx here. Name one with BUILDX=/path/to/docker-buildx.',
      );
      continue;
    }
    const contenders = daemons.map((daemon) => new Docker(daemon, buildkit, config));
    for (const contender of contenders) contender.run('pull', base);
    const results = await compare(bench, contenders, scenariosOf(context));
    const ours = own.map(({ name }) => name);
    const peers = others.map(({ name }) => name);
    tables.push(`DOCKER_BUILDKIT=${buildkit}`, comparison(results, { ours, peers }));
  }
  const versions = [
    execFileSync(dockerCli, ['--version'], { encoding: 'utf8' }).trim(),
    ...daemons.map((d) => d.version),
  ];
  return [
    `3 RUN steps and COPY of 5,000 files, by the same client; medians of ${bench.runs}.`,
    'CPU is that of client, daemon, its containerd and the containers.',
    ...tables,
    [...new Set(versions)].map((version) => `- ${version}`).join('\n'),
  ].join('\n\n');
}
