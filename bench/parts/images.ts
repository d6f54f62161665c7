/**
 * Images of real files on their way out of a builder and into one: archives, pushes, folders, pulls (buildctl on
 * buildkitd and on ours), and docker load. 200 MB, or 1 GB and 5 GB with `--heavy`.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, commandBefore, drydockCommand, folderOf, fresh } from '../bench.ts';
import { serveBase } from '../kit/base.ts';
import { compare, comparison, type Scenario } from '../kit/compare.ts';
import { type Daemon, startBuildkitd, startDockerds, startDrydock } from '../kit/daemons.ts';
import { findProgram } from '../kit/find-program.ts';
import { realImage } from '../kit/real-files.ts';
import { Buildctl, dockerfile } from './buildctl.ts';
import { Docker, dockerCli, dockerConfig } from './docker-client.ts';

const stores = ['local', 'containerd'] as const;

function outScenarios(bench: Bench, context: string, size: string, base: string): Scenario<Buildctl>[] {
  const repository = base.slice(0, base.lastIndexOf('/'));
  const out = join(bench.folder, 'out');
  const archive = join(bench.folder, 'out.tar');
  let name = '';
  const build = (buildctl: Buildctl, output: string) =>
    buildctl.build([...dockerfile(context), `--output=${output}`]);
  /** Everything is built and nothing is packed. */
  const built = async (buildctl: Buildctl) => {
    rmSync(archive, { force: true });
    fresh(out);
    name = `${repository}/real-${randomUUID()}`;
    buildctl.forget();
    await buildctl.build(dockerfile(context));
  };
  const pulled = join(bench.folder, 'pulled');
  return [
    {
      name: `${size}: OCI archive, gzip`,
      prepare: built,
      run: (buildctl) => build(buildctl, `type=oci,dest=${archive}`),
    },
    {
      name: `${size}: OCI archive, its layers packed before`,
      prepare: () => rmSync(archive, { force: true }),
      run: (buildctl) => build(buildctl, `type=oci,dest=${archive}`),
    },
    {
      name: `${size}: push, gzip`,
      prepare: built,
      run: (buildctl) => build(buildctl, `type=image,name=${name},push=true`),
    },
    {
      name: `${size}: push, zstd`,
      prepare: built,
      run: (buildctl) => build(buildctl, `type=image,name=${name},push=true,compression=zstd`),
    },
    {
      name: `${size}: local folder`,
      prepare: built,
      run: (buildctl) => build(buildctl, `type=local,dest=${out}`),
    },
    {
      name: `${size}: pull and unpack (FROM it, RUN)`,
      prepare: async (buildctl) => {
        // One image for all of them.
        name = `${repository}/real:latest`;
        if (!pushed) await build(buildctl, `type=image,name=${name},push=true`);
        pushed = true;
        mkdirSync(pulled, { recursive: true });
        writeFileSync(join(pulled, 'Dockerfile'), `FROM ${name}\nRUN true\n`);
        buildctl.forget();
      },
      run: (buildctl) => buildctl.build(dockerfile(pulled)),
    },
  ];
}
let pushed = false;

const loaded = 'localhost/real:loaded';

function loadScenarios(size: string, archive: string, from: string): Scenario<Docker>[] {
  return [
    {
      name: `${size}: docker load`,
      prepare: (docker) => docker.forget(loaded),
      run: (docker) => docker.measured('load', '-q', '-i', archive),
    },
    {
      name: `${size}: docker save`,
      prepare: () => {},
      run: (docker) => docker.measured('save', '-o', `${archive}.saved`, loaded),
    },
    {
      name: `${size}: docker load, then docker build with a RUN on it`,
      prepare: (docker) => docker.forget(loaded),
      run: async (docker) => {
        const one = await docker.measured('load', '-q', '-i', archive);
        const two = await docker.build(from);
        return {
          seconds: one.seconds + two.seconds,
          cpu: one.cpu + two.cpu,
          peak: Math.max(one.peak, two.peak),
        };
      },
    },
  ];
}

export async function images(bench: Bench): Promise<string> {
  const base = await serveBase(bench);
  const buildctl = findProgram('BUILDCTL', 'buildctl');
  const buildkitd = findProgram('BUILDKITD', 'buildkitd');
  const tables: string[] = [];
  const versions = new Set<string>();
  const sizes = bench.heavy ? [1000, 5000] : [200];
  const buildctls: { ours: Buildctl; peers: Buildctl[] }[] = [];
  if (buildctl !== undefined) {
    for (const store of stores) {
      const ours = new Buildctl(await startDrydock(bench, store, 'buildkitd'), buildctl);
      const others: Daemon[] = [];
      if (commandBefore !== undefined) {
        others.push(
          await startDrydock(bench, store, 'buildkitd', { kind: 'before', command: commandBefore }),
        );
      } else if (buildkitd !== undefined) others.push(await startBuildkitd(bench, store, buildkitd));
      buildctls.push({ ours, peers: others.map((daemon) => new Buildctl(daemon, buildctl)) });
    }
  }
  const config = dockerConfig(bench);
  const others =
    commandBefore === undefined
      ? await startDockerds(bench)
      : [await startDrydock(bench, 'local', 'daemon', { kind: 'before', command: commandBefore })];
  const own = [await startDrydock(bench, 'local'), await startDrydock(bench, 'containerd')];
  const dockers = [...others, ...own].map((daemon) => new Docker(daemon, '1', config));
  for (const megabytes of sizes) {
    const size = megabytes < 1000 ? `${megabytes} MB` : `${megabytes / 1000} GB`;
    pushed = false;
    const context = realImage(bench.folder, base, { bytes: megabytes * 1e6, layers: 5 });
    const contenders = buildctls.flatMap(({ ours, peers }) => [...peers, ours]);
    const results = await compare(bench, contenders, outScenarios(bench, context, size, base));
    for (const { ours, peers } of buildctls) {
      tables.push(comparison(results, { ours: [ours.name], peers: peers.map(({ name }) => name) }));
      for (const { daemon } of [ours, ...peers]) versions.add(daemon.version);
    }
    const archive = join(bench.folder, 'load.tar');
    const root = folderOf(bench, 'maker');
    const output = `type=docker,dest=${archive}`;
    execFileSync(drydockCommand, [
      '--root',
      root,
      'build',
      '-q',
      '-t',
      'localhost/real:loaded',
      '-o',
      output,
      context,
    ]);
    rmSync(root, { recursive: true, force: true });
    const from = folderOf(bench, 'from-loaded');
    writeFileSync(join(from, 'Dockerfile'), `FROM ${loaded}\nRUN true\n`);
    const loads = await compare(bench, dockers, loadScenarios(size, archive, from));
    const namesOf = (daemons: readonly Daemon[]) => daemons.map(({ name }) => name);
    tables.push(comparison(loads, { ours: namesOf(own), peers: namesOf(others) }));
    for (const { daemon } of dockers) versions.add(daemon.version);
  }
  return [
    `Images of five layers of files of this machine's /usr; the same clients on each daemon; medians of ${bench.runs}.`,
    'CPU is that of client, daemon, its containerd and the containers, without the registry.',
    ...tables,
    [...versions].map((version) => `- ${version}`).join('\n'),
    `- client: ${execFileSync(dockerCli, ['--version'], { encoding: 'utf8' }).trim()}`,
  ].join('\n\n');
}
