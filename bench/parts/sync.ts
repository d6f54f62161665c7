/**
 * Folders of a client, in and out by file sync: buildctl on our daemon and on buildkitd, each with its own store. There is
 * nothing else in these builds than one COPY onto an empty image, and the `local` output.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, commandBefore, fresh, progress } from '../bench.ts';
import { comparison, type Results } from '../kit/compare.ts';
import { changeBigFile, changeOneFile, writeSmallFiles } from '../kit/contexts.ts';
import { type Daemon, startBuildkitd, startDrydock } from '../kit/daemons.ts';
import { findProgram } from '../kit/find-program.ts';
import { seconds } from '../kit/table.ts';
import { Buildctl, dockerfile } from './buildctl.ts';

/** A folder of the client. */
interface Tree {
  what: string;
  folder: string;
  /** What of it is copied. */
  source: string;
  make(folder: string): void;
  /** Changes one file; undefined where there is only one. */
  change?(folder: string): void;
}

function trees({ folder, quick }: Bench): Tree[] {
  const small = (what: string, count: number): Tree => ({
    what,
    folder: join(folder, `files-${count}`),
    source: 'src',
    make: (at) => writeSmallFiles(at, count),
    change: changeOneFile,
  });
  return [
    small('5,000 files', 5_000),
    ...(quick ? [] : [small('50,000 files', 50_000)]),
    {
      what: quick ? 'one file of 512 MiB' : 'one file of 2 GiB',
      folder: join(folder, 'big'),
      source: 'big.bin',
      make: (at) => changeBigFile(at, quick ? 512 : 2048),
    },
  ];
}

type Start = (bench: Bench) => Promise<Daemon>;

export async function sync(bench: Bench): Promise<string> {
  const buildctl = findProgram('BUILDCTL', 'buildctl');
  if (buildctl === undefined) {
    throw new Error(
      'buildctl is needed, and is not in PATH: say where it is with BUILDCTL=/path/to/buildctl',
    );
  }
  const starts: Start[] = [];
  const buildkitd = findProgram('BUILDKITD', 'buildkitd');
  if (buildkitd !== undefined) starts.push((run) => startBuildkitd(run, 'local', buildkitd));
  if (commandBefore !== undefined) {
    const before = { kind: 'before', command: commandBefore };
    starts.push((run) => startDrydock(run, 'local', 'buildkitd', before));
  }
  starts.push((run) => startDrydock(run, 'local', 'buildkitd'));
  const first = join(bench.folder, 'first');
  writeSmallFiles(first, 100);
  writeFileSync(join(first, 'Dockerfile'), 'FROM scratch\nCOPY src /src\n');
  const results: Results = new Map();
  const daemons = new Map<string, Daemon>();
  for (const [t, tree] of trees(bench).entries()) {
    if (bench.only !== undefined && !tree.what.includes(bench.only)) continue;
    fresh(tree.folder);
    tree.make(tree.folder);
    writeFileSync(join(tree.folder, 'Dockerfile'), `FROM scratch\nCOPY ${tree.source} /${tree.source}\n`);
    for (let run = 0; run < bench.runs; run++) {
      for (const [i, start] of starts.entries()) {
        // Many files are not removed before the end: ext4 is slow to make files where many were just deleted.
        const folder = join(bench.folder, `run-${t}-${run}-${i}`);
        const undo: (() => void | Promise<void>)[] = [];
        const daemon = await start({ ...bench, folder, atEnd: (each) => void undo.push(each) });
        daemons.set(daemon.name, daemon);
        try {
          await new Buildctl(daemon, buildctl).build(dockerfile(first));
          await roundTrip(new Buildctl(daemon, buildctl), tree, join(folder, 'out'), results);
        } finally {
          for (const each of undo.reverse()) await each();
          if (tree.change === undefined) rmSync(folder, { recursive: true });
        }
      }
    }
  }
  const names = [...daemons.keys()];
  const versions = [...daemons.values()].map(({ version }) => version);
  versions.unshift(execFileSync(buildctl, ['--version'], { encoding: 'utf8' }).trim());
  return [
    `The same buildctl on each, over a unix socket, each time on a daemon begun anew that has built once from 100 files; medians of ${bench.runs}.`,
    comparison(results, { ours: names.slice(-1), peers: names.slice(0, -1), servers: true }),
    [...new Set(versions)].map((version) => `- ${version}`).join('\n'),
  ].join('\n\n');
}

/** A tree in, in again, in again with one change, and out. */
async function roundTrip(buildctl: Buildctl, tree: Tree, out: string, results: Results): Promise<void> {
  const build = dockerfile(tree.folder);
  const measured = async (how: string, args: readonly string[]) => {
    const sample = await buildctl.build(args);
    const name = `${tree.what} ${how}`;
    const samples = results.get(name) ?? new Map();
    results.set(name, samples);
    samples.set(buildctl.name, [...(samples.get(buildctl.name) ?? []), sample]);
    progress(`${name}: ${buildctl.name} ${seconds(sample.seconds)}, CPU ${seconds(sample.cpu)}`);
  };
  await measured('in', build);
  await measured('in again', build);
  if (tree.change !== undefined) {
    tree.change(tree.folder);
    await measured('in again, one changed', build);
  }
  await measured('out', [...build, `--output=type=local,dest=${fresh(out)}`]);
}
