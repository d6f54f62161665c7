/**
 * The build's cache on its way to other machines and back (`--export-cache`, `--import-cache`): the layers of five
 * steps, real files, to a registry, a folder and a bucket, with gzip and zstd. 1 GB, or 200 MB with `--quick`.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, commandBefore, drydockCommand, folderOf } from '../bench.ts';
import { serveBase } from '../kit/base.ts';
import { compare, comparison, type Scenario } from '../kit/compare.ts';
import { type Daemon, startBuildkitd, startDrydock } from '../kit/daemons.ts';
import { findProgram } from '../kit/find-program.ts';
import { realImage } from '../kit/real-files.ts';
import { s3Attrs, serveS3 } from '../kit/s3.ts';
import { Buildctl, dockerfile } from './buildctl.ts';

const layers = 5;
const compressions = ['gzip', 'zstd'] as const;
const places = ['registry', 'local', 's3'] as const;

/** The steps are of an image's files, so that no context is sent; with one more that needs all of their layers. */
function steps(folder: string, base: string, files: string, isMore: boolean): string {
  const copies = Array.from(
    { length: layers },
    (_, i) => `RUN --mount=from=${files},target=/files cp -a /files/l${i} /l${i}`,
  );
  writeFileSync(
    join(folder, 'Dockerfile'),
    [`FROM ${base}`, ...copies, ...(isMore ? ['RUN true'] : []), ''].join('\n'),
  );
  return folder;
}

/** Where a contender's cache of a kind is, for `--export-cache` and `--import-cache`. */
function placesOf(bench: Bench, repository: string, s3: string) {
  const names = new Map<string, string>();
  return {
    fresh(key: string): void {
      const name = `cache-${randomUUID()}`;
      rmSync(join(bench.folder, names.get(key) ?? name), { recursive: true, force: true });
      names.set(key, name);
    },
    attrs(place: (typeof places)[number], key: string, isExport: boolean): string {
      const name = names.get(key) ?? '';
      if (place === 'registry') return `type=registry,ref=${repository}/${name}`;
      if (place === 's3') return `${s3Attrs(s3)},prefix=${name}/`;
      return `type=local,${isExport ? 'dest' : 'src'}=${join(bench.folder, name)}`;
    },
  };
}

export async function cache(bench: Bench): Promise<string> {
  const base = await serveBase(bench);
  const s3 = await serveS3(bench);
  const buildctl = findProgram('BUILDCTL', 'buildctl');
  const buildkitd = findProgram('BUILDKITD', 'buildkitd');
  if (buildctl === undefined) return 'No buildctl was found.';
  const repository = base.slice(0, base.lastIndexOf('/'));
  const megabytes = bench.quick ? 200 : 1000;
  const size = bench.quick ? '200 MB' : '1 GB';
  const files = `${repository}/files:latest`;
  const context = realImage(bench.folder, base, { bytes: megabytes * 1e6, layers });
  const root = folderOf(bench, 'maker');
  execFileSync(drydockCommand, ['--root', root, 'build', '-q', '-t', files, '--push', context]);
  for (const folder of [root, context]) rmSync(folder, { recursive: true, force: true });
  const alone = steps(folderOf(bench, 'alone'), base, files, false);
  const more = steps(folderOf(bench, 'more'), base, files, true);
  const where = placesOf(bench, repository, s3);

  const scenarios = compressions.flatMap((compression) =>
    places.flatMap((place): Scenario<Buildctl>[] => {
      const keyOf = ({ name }: Buildctl) => `${name} ${place} ${compression}`;
      return [
        {
          name: `${size}: export to ${place}, ${compression}`,
          async prepare(builder) {
            where.fresh(keyOf(builder));
            builder.forget();
            await builder.build(dockerfile(alone));
          },
          run: (builder) =>
            builder.build([
              ...dockerfile(alone),
              `--export-cache=${where.attrs(place, keyOf(builder), true)},mode=max,compression=${compression}`,
            ]),
        },
        {
          name: `${size}: import from ${place}, ${compression}, and a step on it`,
          prepare: (builder) => builder.forget(),
          run: (builder) =>
            builder.build([
              ...dockerfile(more),
              `--import-cache=${where.attrs(place, keyOf(builder), false)}`,
            ]),
        },
      ];
    }),
  );

  const tables: string[] = [];
  const versions = new Set<string>();
  for (const store of ['local', 'containerd'] as const) {
    const ours = new Buildctl(await startDrydock(bench, store, 'buildkitd'), buildctl);
    const others: Daemon[] = [];
    if (commandBefore !== undefined) {
      others.push(await startDrydock(bench, store, 'buildkitd', { kind: 'before', command: commandBefore }));
    } else if (buildkitd !== undefined) others.push(await startBuildkitd(bench, store, buildkitd));
    const peers = others.map((daemon) => new Buildctl(daemon, buildctl));
    const results = await compare(bench, [...peers, ours], scenarios);
    tables.push(comparison(results, { ours: [ours.name], peers: peers.map(({ name }) => name) }));
    for (const { daemon } of [ours, ...peers]) versions.add(daemon.version);
    for (const { daemon } of [ours, ...peers]) await daemon.stop();
  }
  return [
    `The cache of five steps, files of this machine's /usr, by buildctl; medians of ${bench.runs}. An export packs the layers; an import fetches and unpacks them.`,
    'CPU is that of client, daemon and its containerd, without registry and bucket (s3rver).',
    ...tables,
    [...versions].map((version) => `- ${version}`).join('\n'),
  ].join('\n\n');
}
