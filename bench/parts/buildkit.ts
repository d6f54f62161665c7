/**
 * buildctl on our daemon and on buildkitd, each with its own store and with a containerd. Debian has neither of the
 * two: their paths are taken from BUILDCTL and BUILDKITD, or from PATH.
 */
import { execFileSync } from 'node:child_process';
import { type Bench, commandBefore } from '../bench.ts';
import { serveBase } from '../kit/base.ts';
import { compare, comparison } from '../kit/compare.ts';
import { type Daemon, startBuildkitd, startDrydock } from '../kit/daemons.ts';
import { findProgram } from '../kit/find-program.ts';
import { Buildctl } from './buildctl.ts';
import { buildkitScenarios } from './buildkit-scenarios.ts';

export async function buildkit(bench: Bench): Promise<string> {
  const buildctl = findProgram('BUILDCTL', 'buildctl');
  const buildkitd = findProgram('BUILDKITD', 'buildkitd');
  if (buildctl === undefined) {
    throw new Error(
      'buildctl is needed, and is not in PATH: say where it is with BUILDCTL=/path/to/buildctl (and buildkitd, to compare with, with BUILDKITD=…)',
    );
  }
  const base = await serveBase(bench);
  const pairs: { ours: Daemon; peers: Daemon[] }[] = [];
  for (const store of ['local', 'containerd'] as const) {
    const peers: Daemon[] = [];
    if (commandBefore !== undefined) {
      peers.push(await startDrydock(bench, store, 'buildkitd', { kind: 'before', command: commandBefore }));
    } else if (buildkitd !== undefined) peers.push(await startBuildkitd(bench, store, buildkitd));
    pairs.push({ ours: await startDrydock(bench, store, 'buildkitd'), peers });
  }
  const all = pairs.flatMap(({ ours, peers }) => [...peers, ours]);
  const contenders = all.map((daemon) => new Buildctl(daemon, buildctl));
  const results = await compare(bench, contenders, buildkitScenarios(bench.folder, base));
  const versions = [
    execFileSync(buildctl, ['--version'], { encoding: 'utf8' }).trim(),
    ...new Set(all.map((daemon) => daemon.version)),
  ];
  return [
    `The same buildctl on each; medians of ${bench.runs}. CPU is that of client, daemon, its containerd and the containers.`,
    ...(buildkitd === undefined
      ? ['No buildkitd to compare with: name one with BUILDKITD=/path/to/buildkitd.']
      : []),
    ...pairs.map(({ ours, peers }) =>
      comparison(results, { ours: [ours.name], peers: peers.map(({ name }) => name) }),
    ),
    versions.map((version) => `- ${version}`).join('\n'),
  ].join('\n\n');
}
