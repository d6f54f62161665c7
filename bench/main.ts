/**
 * `npm run bench [RUNS]`: Drydock, dockerd's BuildKit and buildah on the same work in one run, interleaved, medians
 * of five. Prints a Markdown table and writes it to bench/out/results.md.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { type Builder, buildah, dockerd, drydock, fresh } from './builders.ts';
import { median, type Sample } from './measure.ts';
import { scenarios } from './scenarios.ts';
import { startServer } from './servers.ts';

const runs = Number(process.argv[2] ?? 5);
const only = process.argv[3];
const folder = fresh(process.env.DRYDOCK_BENCH_DIR ?? '/var/tmp/drydock-bench');

/** A registry on loopback with the base image: busybox and its links. */
async function serveBase(): Promise<{ base: string; stop(): Promise<void> }> {
  const port = await new Promise<number>((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
  const config = join(folder, 'registry.yml');
  writeFileSync(
    config,
    JSON.stringify({
      version: 0.1,
      log: { level: 'error' },
      storage: { filesystem: { rootdirectory: join(folder, 'registry') } },
      http: { addr: `127.0.0.1:${port}` },
    }),
  );
  const server = await startServer('docker-registry', ['serve', config]);
  await answering(`http://127.0.0.1:${port}/v2/`);
  const base = `localhost:${port}/base:latest`;
  const context = fresh(join(folder, 'base'));
  execFileSync('sh', ['-c', `cp "$(PATH=$PATH:/usr/sbin:/sbin command -v busybox)" "${context}/busybox"`]);
  writeFileSync(
    join(context, 'Dockerfile'),
    'FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n',
  );
  const bin = new URL('../bin/drydock', import.meta.url).pathname;
  execFileSync(bin, ['--root', join(folder, 'base-root'), 'build', '-q', '-t', base, '--push', context]);
  return { base, stop: () => server.stop() };
}

async function answering(url: string): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      await fetch(url);
      return;
    } catch (err) {
      if (i === 100) throw err;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function format(samples: Map<string, Sample[]>, names: readonly string[]): string {
  const mb = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;
  const cell = (list: Sample[] | undefined) =>
    list === undefined ? '–' : `${median(list.map((s) => s.seconds)).toFixed(2)} s`;
  const head = `| scenario | ${names.join(' | ')} | ratio to the best peer | ${names.map((n) => `${n} peak`).join(' | ')} |`;
  const rows = [head, `|${'---|'.repeat(names.length * 2 + 2)}`];
  for (const scenario of new Set([...samples.keys()].map((key) => key.split('\t')[0] as string))) {
    const of = (name: string) => samples.get(`${scenario}\t${name}`);
    const times = names.map((name) => of(name)?.map((s) => s.seconds));
    const own = median(times[0] ?? []);
    const peers = times.slice(1).flatMap((list) => (list === undefined ? [] : [median(list)]));
    const ratio = peers.length === 0 ? '–' : `${(own / Math.min(...peers)).toFixed(2)} ×`;
    const peaks = names
      .map((name) => of(name))
      .map((list) => (list === undefined ? '–' : mb(Math.max(...list.map((s) => s.peak)))));
    rows.push(
      `| ${scenario} | ${names.map((name) => cell(of(name))).join(' | ')} | ${ratio} | ${peaks.join(' | ')} |`,
    );
  }
  return rows.join('\n');
}

const registry = await serveBase();
const builders: Builder[] = [];
try {
  builders.push(drydock(folder, registry.base));
  builders.push(await dockerd(folder, registry.base));
  builders.push(buildah(folder, registry.base));
  const samples = new Map<string, Sample[]>();
  for (const scenario of scenarios(folder, registry.base)) {
    if (only !== undefined && !scenario.name.includes(only)) continue;
    for (let run = 0; run < runs; run++) {
      for (const builder of builders) {
        rmSync(join(folder, 'image.tar'), { force: true });
        scenario.prepare(builder, run);
        const sample = await scenario.run(builder);
        if (sample === undefined) continue;
        const key = `${scenario.name}\t${builder.name}`;
        samples.set(key, [...(samples.get(key) ?? []), sample]);
        process.stderr.write(`${scenario.name}: ${builder.name} ${sample.seconds.toFixed(2)} s\n`);
      }
    }
  }
  const table = format(
    samples,
    builders.map((builder) => builder.name),
  );
  const versions = builders.map((builder) => `- ${builder.version}`).join('\n');
  const out = new URL('./out/', import.meta.url).pathname;
  mkdirSync(out, { recursive: true });
  const report = `# Benchmark\n\n${new Date().toISOString()}, ${cpus().length} cores (${cpus()[0]?.model ?? ''}), medians of ${runs}\n\n${table}\n\n${versions}\n`;
  writeFileSync(join(out, 'results.md'), report);
  console.log(report);
} finally {
  for (const builder of builders) await builder.stop();
  await registry.stop();
}
