/**
 * Real projects: a Node application on a Debian that debootstrap makes (apt, npm ci), a C program built in many RUNs, a
 * monorepo of 100,000 files with a .dockerignore, and 30 stages. Each cold, cached, and with one source changed, on
 * buildkitd, dockerd, buildah and ours.
 */
import { execFileSync } from 'node:child_process';
import { type Bench, commandBefore, drydockCommand, folderOf } from '../bench.ts';
import { type Buildah, findBuildah } from '../kit/buildah.ts';
import { compare, comparison, type Scenario } from '../kit/compare.ts';
import { type Daemon, startBuildkitd, startDockerd, startDockerds, startDrydock } from '../kit/daemons.ts';
import { debianBase } from '../kit/debian.ts';
import { findProgram } from '../kit/find-program.ts';
import { measure, type Sample } from '../kit/measure.ts';
import { versionOf } from '../kit/peers.ts';
import { manyStages, monorepo, nodeApplication, type Project, smallC } from '../kit/projects.ts';
import { Buildctl, dockerfile } from './buildctl.ts';
import { Docker, dockerConfig } from './docker-client.ts';

/** One way to build a project's folder. */
interface Way {
  readonly name: string;
  readonly version: string;
  build(context: string): Promise<Sample>;
  /** Forgets all that was built. */
  forget(): void | Promise<void>;
}

const tag = 'localhost/bench:project';

export async function projects(bench: Bench): Promise<string> {
  const { debian, busybox } = await debianBase(bench);
  const { peers, ours } = await waysOf(bench);
  const makers: [string, () => Project][] = [
    ['a Node application (apt, npm ci)', () => nodeApplication(bench.folder, debian)],
    ['a C program in 60 RUNs', () => smallC(bench.folder, debian)],
    ['a monorepo of 100,000 files', () => monorepo(bench.folder, busybox)],
    ['30 stages', () => manyStages(bench.folder, busybox)],
  ];
  const scenarios: Scenario<Way>[] = [];
  for (const [name, make] of makers) {
    if (bench.only?.split(',').some((part) => name.includes(part)) === false) continue;
    const { context, change } = make();
    const run = (way: Way) => way.build(context);
    scenarios.push(
      { name: `${name}: cold`, prepare: (way) => way.forget(), run },
      { name: `${name}: cached`, prepare: () => {}, run },
      { name: `${name}: one source changed`, prepare: change, run },
    );
  }
  const names = (ways: readonly Way[]) => ways.map(({ name }) => name);
  const results = await compare({ ...bench, only: undefined }, [...peers, ...ours], scenarios);
  return [
    `Real projects on a Debian of debootstrap's; medians of ${bench.runs}. Packages come over the network.`,
    'CPU is that of client, daemon, its containerd and the containers.',
    comparison(results, { ours: names(ours), peers: names(peers) }),
    [...new Set([...peers, ...ours].map(({ version }) => version))].map((each) => `- ${each}`).join('\n'),
  ].join('\n\n');
}

async function waysOf(bench: Bench): Promise<{ peers: Way[]; ours: Way[] }> {
  const buildctl = findProgram('BUILDCTL', 'buildctl');
  const buildkitd = findProgram('BUILDKITD', 'buildkitd');
  const byBuildctl = (daemon: Daemon, name: string): Way[] => {
    if (buildctl === undefined) return [];
    const client = new Buildctl(daemon, buildctl);
    return [
      {
        name,
        version: daemon.version,
        build: (context) => client.build([...dockerfile(context), `--output=type=image,name=${tag}`]),
        forget: () => client.forget(),
      },
    ];
  };
  const config = dockerConfig(bench);
  const byDocker = (daemon: Daemon, name: string): Way => {
    const client = new Docker(daemon, '1', config);
    return {
      name,
      version: daemon.version,
      build: (context) => client.build(context),
      forget: () => client.forget(),
    };
  };
  const ours: Way[] = [
    command(bench, 'drydock', drydockCommand),
    ...byBuildctl(await startDrydock(bench, 'local', 'buildkitd'), 'drydock, buildctl'),
  ];
  if (!bench.quick) ours.push(byDocker(await startDrydock(bench, 'local'), 'drydock, docker'));
  if (commandBefore !== undefined) return { ours, peers: [command(bench, 'before', commandBefore)] };
  const peers: Way[] = [];
  if (buildkitd !== undefined && buildctl !== undefined) {
    peers.push(...byBuildctl(await startBuildkitd(bench, 'local', buildkitd), 'buildkitd'));
  }
  const dockerds = bench.quick ? [await startDockerd(bench)] : await startDockerds(bench);
  for (const daemon of dockerds) peers.push(byDocker(daemon, daemon.name));
  const buildah = findBuildah(bench);
  if (buildah !== undefined) peers.push(buildahWay(buildah));
  return { ours, peers };
}

/** The command alone, of this clone or of another. */
function command(bench: Bench, name: string, bin: string): Way {
  const env = { DRYDOCK_ROOT: folderOf(bench, `${name}-root`) };
  const run = (...args: string[]) =>
    execFileSync(bin, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...env } });
  return {
    name,
    version: versionOf([bin]),
    build: (context) => measure([bin, 'build', '-t', tag, context], { servers: [], env }),
    forget() {
      run('rmi', '-f', tag);
      run('prune', '--all');
    },
  };
}

function buildahWay(buildah: Buildah): Way {
  return {
    name: 'buildah',
    version: buildah.version,
    build: (context) => measure(buildah.build(context, tag), { servers: [] }),
    forget: () => buildah.run('rmi', '--all', '--force'),
  };
}
