/**
 * `npm run bench [-- PART] [RUNS] [SCENARIO] [--heavy | --quick]`: measures this clone beside others on the same machine, interleaved.
 * Each part prints Markdown tables and writes them to bench/out/PART.md. The part `all` runs every other one and makes
 * docs/performance.md.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, fresh, type Part } from './bench.ts';
import { ownDisk, releaseDisk } from './kit/own-disk.ts';
import { machine, writePerformance } from './performance.ts';

interface PartEntry {
  /** Runs per scenario unless said otherwise. */
  runs: number;
  load(): Promise<Part>;
}

const parts: Record<string, PartEntry> = {
  /** The command, beside dockerd's BuildKit and buildah. */
  cli: { runs: 5, load: async () => (await import('./parts/cli.ts')).cli },
  /** 100 builds at once through POST /build. */
  load: { runs: 1, load: async () => (await import('./parts/load.ts')).load },
  /** 1,000 builds in a row. */
  long: { runs: 1, load: async () => (await import('./parts/long.ts')).long },
  /** A 2 GB context through POST /build. */
  stream: { runs: 1, load: async () => (await import('./parts/stream.ts')).stream },
  /** docker's CLI on our daemon and on dockerd. */
  docker: { runs: 3, load: async () => (await import('./parts/docker.ts')).docker },
  /** buildctl on our daemon and on buildkitd. */
  buildkit: { runs: 3, load: async () => (await import('./parts/buildkit.ts')).buildkit },
  /** Images of real files: archives, pushes, folders, pulls, docker load. */
  images: { runs: 3, load: async () => (await import('./parts/images.ts')).images },
  /** Caches that travel: to a registry, a folder, a bucket, and back. */
  cache: { runs: 1, load: async () => (await import('./parts/cache.ts')).cache },
  /** Projects like those that people build. */
  projects: { runs: 1, load: async () => (await import('./parts/projects.ts')).projects },
  /** The web page: its first view, its long tasks, and what pages that follow a build cost it. */
  page: { runs: 5, load: async () => (await import('./parts/page.ts')).page },
  /** What it costs as things grow in number. */
  growth: { runs: 1, load: async () => (await import('./parts/growth.ts')).growth },
  /** Clients' folders in and out of our daemon and of buildkitd. */
  sync: { runs: 3, load: async () => (await import('./parts/sync.ts')).sync },
};

/** The order of the page that is made of all. */
const order = [
  'cli',
  'docker',
  'buildkit',
  'sync',
  'projects',
  'images',
  'cache',
  'load',
  'long',
  'stream',
  'page',
  'growth',
];

const args = process.argv.slice(2).filter((arg) => arg !== '--heavy' && arg !== '--quick');
const heavy = process.argv.includes('--heavy');
const quick = process.argv.includes('--quick');
const all = args[0] === 'all';
if (all) args.shift();
const name = args[0] !== undefined && Object.hasOwn(parts, args[0]) ? (args.shift() as string) : 'cli';
const part = parts[name] as PartEntry;
const given = args[0] !== undefined && /^[1-9]\d*$/.test(args[0]) ? Number(args.shift()) : undefined;
const runs = given ?? (quick ? 1 : part.runs);
if (args.length > 1) {
  console.error(
    `usage: npm run bench [-- PART] [RUNS] [SCENARIO] [--heavy | --quick]; parts: all, ${Object.keys(parts).join(', ')}`,
  );
  process.exit(2);
}
if (all) {
  // Each in a process of its own, so that none begins with what another has left.
  for (const each of order) {
    const rest = given === undefined ? [] : [String(given)];
    if (heavy) rest.push('--heavy');
    if (quick) rest.push('--quick');
    const started = performance.now();
    const { status } = spawnSync(process.execPath, [import.meta.filename, each, ...rest], {
      stdio: 'inherit',
    });
    const took = `${Math.round((performance.now() - started) / 1000)} s`;
    console.error(
      status === 0 ? `${each}: done in ${took}` : `${each}: failed after ${took}; its last report is kept`,
    );
    writePerformance(order);
  }
  process.exit();
}
const place = join(process.env.DRYDOCK_BENCH_DIR ?? '/var/tmp/drydock-bench', name);
releaseDisk(place);
const folder = fresh(place);
const undo: (() => void | Promise<void>)[] = [];
const bench: Bench = { folder, runs, heavy, quick, only: args[0], atEnd: (each) => void undo.push(each) };
const where = `${machine()}; on ${ownDisk(folder, bench.atEnd)}`;
try {
  const tables = await (await part.load())(bench);
  const report = `# Benchmark: ${name}\n\n${new Date().toISOString()}, ${where}.\n\n${tables}\n`;
  const out = new URL('./out/', import.meta.url).pathname;
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, `${name}.md`), report);
  console.log(report);
} finally {
  for (const each of undo.reverse()) await each();
  rmSync(folder, { recursive: true, force: true });
}
