/**
 * What the command and the daemon cost as things grow in number: files, layers, cache records, images, bytes. The
 * exponent says how: 1 is linear, 0 is not at all. Larger sizes with `--heavy`.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, drydockCommand, folderOf, fresh, progress } from '../bench.ts';
import { serveBase } from '../kit/base.ts';
import { ask } from '../kit/engine-api.ts';
import { fillImages, fillRecords } from '../kit/fill-root.ts';
import { measure, median } from '../kit/measure.ts';
import { cpuOf } from '../kit/process.ts';
import { startServer } from '../kit/servers.ts';
import { megabytes, none, seconds, table } from '../kit/table.ts';
import { noiseFile } from '../kit/tar.ts';
import { until } from '../kit/until.ts';

interface Cost {
  seconds: number;
  cpu: number;
  /** Bytes. */
  peak: number;
}

/** Things that grow in number, and what is done with `n` of them, by name. */
interface Axis {
  name: string;
  sizes: number[];
  heavy: number[];
  measure(n: number): Promise<Map<string, Cost>>;
}

export async function growth(bench: Bench): Promise<string> {
  const base = await serveBase(bench);
  const tables: string[] = [];
  for (const axis of axesOf(bench, base)) {
    if (bench.only !== undefined && !axis.name.includes(bench.only)) continue;
    const sizes = sizesOf(axis, bench);
    const costs: Map<string, Cost>[] = [];
    for (const n of sizes) {
      const runs: Map<string, Cost>[] = [];
      for (let run = 0; run < bench.runs; run++) runs.push(await axis.measure(n));
      costs.push(medians(runs));
      progress(
        `${axis.name} ${n}: ${[...(costs.at(-1) ?? [])].map(([what, { cpu }]) => `${what} ${seconds(cpu)}`).join(', ')}`,
      );
    }
    tables.push(tableOf(axis.name, sizes, costs));
  }
  return [
    'Processor time of the command, or of the daemon, and (time) for the last size; the root is new each time.',
    `The exponent is that of the last two sizes: (n → k n) costs k^exponent as much; medians of ${bench.runs}.`,
    ...tables,
  ].join('\n\n');
}

/** The sizes that are wanted: with `quick`, the largest is left out where there are enough without it. */
function sizesOf({ sizes, heavy }: Axis, bench: Bench): number[] {
  if (bench.heavy) return [...sizes, ...heavy];
  return bench.quick ? sizes.slice(0, -1) : sizes;
}

function medians(runs: readonly Map<string, Cost>[]): Map<string, Cost> {
  const of = (what: string, pick: (cost: Cost) => number) =>
    median(runs.flatMap((run) => (run.has(what) ? [pick(run.get(what) as Cost)] : [])));
  return new Map(
    [...(runs[0]?.keys() ?? [])].map((what) => [
      what,
      { seconds: of(what, (c) => c.seconds), cpu: of(what, (c) => c.cpu), peak: of(what, (c) => c.peak) },
    ]),
  );
}

function tableOf(name: string, sizes: readonly number[], costs: readonly Map<string, Cost>[]): string {
  const rows = [...(costs[0]?.keys() ?? [])].map((what) => {
    const list = costs.map((each) => each.get(what));
    const [before, last] = [list.at(-2), list.at(-1)];
    const exponent =
      before === undefined || last === undefined || sizes.length < 2
        ? none
        : (
            Math.log(Math.max(last.cpu, 0.01) / Math.max(before.cpu, 0.01)) /
            Math.log((sizes.at(-1) ?? 1) / (sizes.at(-2) ?? 1))
          ).toFixed(2);
    return [
      what,
      ...list.map((cost) => seconds(cost?.cpu)),
      seconds(last?.seconds),
      exponent,
      megabytes(last?.peak),
    ];
  });
  return table([name, ...sizes.map((n) => n.toLocaleString('en')), 'time', 'exponent', 'memory'], rows);
}

function axesOf(bench: Bench, base: string): Axis[] {
  const root = join(bench.folder, 'root');
  const out = join(bench.folder, 'out.tar');
  const drydock = (...args: string[]) => measure([drydockCommand, '--root', root, ...args], { servers: [] });
  const build = (context: string, ...args: string[]) =>
    drydock('build', '-q', '-t', 'localhost/grown', ...args, context);
  const archive = (context: string) => {
    rmSync(out, { force: true });
    return drydock('build', '-q', '-o', `type=oci,dest=${out},compression=uncompressed`, context);
  };
  const contextFor = (dockerfile: string) => {
    const context = folderOf(bench, 'context');
    writeFileSync(join(context, 'Dockerfile'), dockerfile);
    return context;
  };
  /** What is asked of a root that is full of something. */
  const atRest = async (costs: Map<string, Cost>) => {
    const context = contextFor(`FROM ${base}\nRUN echo again > /again\n`);
    costs.set('the daemon starts', await started(bench, root));
    costs.set('a cached build', await build(context));
    costs.set('images', await drydock('images'));
    costs.set('du', await drydock('du'));
    costs.set('prune that takes nothing', await drydock('prune', '--filter', 'until=1000000h'));
  };
  const makeRoot = async () => {
    fresh(root);
    await build(contextFor(`FROM ${base}\nRUN echo again > /again\n`));
  };
  return [
    {
      name: 'files',
      sizes: [1000, 10_000, 50_000],
      heavy: [200_000],
      async measure(n) {
        fresh(root);
        const context = contextFor(`FROM ${base}\nCOPY src /src\n`);
        for (let i = 0; i < n; i++) {
          const dir = join(context, 'src', `d${Math.floor(i / 100)}`);
          if (i % 100 === 0) mkdirSync(dir, { recursive: true });
          writeFileSync(join(dir, `f${i}`), `file ${i}\n`);
        }
        const costs = new Map<string, Cost>();
        costs.set('COPY, cold', await build(context));
        costs.set('cached', await build(context));
        writeFileSync(join(context, 'src/d0/f0'), 'changed\n');
        costs.set('one file changed', await build(context));
        costs.set('OCI archive', await archive(context));
        costs.set('prune --all', await drydock('prune', '--all'));
        return costs;
      },
    },
    {
      name: 'layers',
      sizes: [1, 25, 50, 100],
      heavy: [200, 400],
      async measure(n) {
        fresh(root);
        const lines = Array.from({ length: n }, (_, i) => `COPY f /f${i}`);
        const context = contextFor([`FROM ${base}`, ...lines, ''].join('\n'));
        writeFileSync(join(context, 'f'), 'file\n');
        const costs = new Map<string, Cost>();
        costs.set('COPY after COPY, cold', await build(context));
        costs.set('cached', await build(context));
        costs.set('OCI archive', await archive(context));
        writeFileSync(join(context, 'Dockerfile'), 'FROM localhost/grown\nRUN echo once > /once\n');
        costs.set('RUN on them', await drydock('build', '-q', '-t', 'localhost/more', context));
        costs.set('images', await drydock('images'));
        costs.set('prune --all', await drydock('prune', '--all'));
        return costs;
      },
    },
    {
      name: 'cache records',
      sizes: [1000, 10_000, 100_000],
      heavy: [1_000_000],
      async measure(n) {
        await makeRoot();
        fillRecords(root, n);
        const costs = new Map<string, Cost>();
        await atRest(costs);
        costs.set('prune --all', await drydock('prune', '--all'));
        return costs;
      },
    },
    {
      name: 'images',
      sizes: [10, 100, 1000],
      heavy: [10_000],
      async measure(n) {
        await makeRoot();
        await fillImages(root, n);
        const costs = new Map<string, Cost>();
        await atRest(costs);
        costs.set('rmi', await drydock('rmi', 'filled-0'));
        return costs;
      },
    },
    {
      name: 'bytes of one file, MB',
      sizes: [10, 100, 1000],
      heavy: [20_000],
      async measure(n) {
        fresh(root);
        const context = contextFor(`FROM ${base}\nCOPY big /big\n`);
        await noiseFile(join(context, 'big'), n * 1e6);
        const costs = new Map<string, Cost>();
        costs.set('COPY, cold', await build(context));
        costs.set('cached', await build(context));
        costs.set('OCI archive', await archive(context));
        costs.set('prune --all', await drydock('prune', '--all'));
        return costs;
      },
    },
  ];
}

/** A daemon's start, up to its first answer. */
async function started(bench: Bench, root: string): Promise<Cost> {
  const socket = join(bench.folder, 'sock');
  const before = performance.now();
  const server = await startServer(
    drydockCommand,
    ['--root', root, 'daemon', '--host', `unix://${socket}`, '--log-level', 'warn'],
    join(bench.folder, 'daemon.log'),
  );
  try {
    await until(() => ask(socket, 'GET', '/_ping'), 5);
    const time = (performance.now() - before) / 1000;
    return { seconds: time, cpu: cpuOf([server.pid]), peak: 0 };
  } finally {
    await server.stop();
  }
}
