/** 100 builds at once through POST /build, half of them equal. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench } from '../bench.ts';
import { progress } from '../bench.ts';
import { serveBase } from '../kit/base.ts';
import { type Daemon, type StoreKind, startDrydock } from '../kit/daemons.ts';
import { ask, layersOf, metric, postBuild } from '../kit/engine-api.ts';
import { median, quantile } from '../kit/measure.ts';
import { startPings } from '../kit/ping.ts';
import { cpuOf, peakOf, resetPeak, residentNow, residentOf } from '../kit/process.ts';
import { megabytes, milliseconds, seconds, table } from '../kit/table.ts';
import { textTar } from '../kit/tar.ts';

const builds = 100;
const files = 100;
/** A daemon rests when it has been idle for three seconds. */
const untilRest = 5000;

/**
 * A step that gives other bytes each time it is run, so that images tell how often it was, and a COPY. Builds of
 * one `kind` are equal.
 */
function context(base: string, kind: string): Buffer {
  const sources = Array.from({ length: files }, (_, i) => [
    `src/f${i}`,
    `${kind} ${i}\n${'x'.repeat(i * 100)}`,
  ]);
  return textTar({
    Dockerfile: [
      `FROM ${base}`,
      `RUN : ${kind}; cat /proc/sys/kernel/random/uuid > /once`,
      'COPY src /src',
      '',
    ].join('\n'),
    ...Object.fromEntries(sources),
  });
}

interface Result {
  failed: string[];
  wall: number;
  cpu: number;
  /** How often RUN was run, by the images' layers, and both steps, by the daemon's own count. */
  runs: number;
  steps: number;
  idle: number;
  /** Once the daemon has been idle for a while. */
  atRest: number;
  peak: number;
  /** Of the daemon with all processes that it has started, runc and the steps. */
  withChildren: number;
  pings: number[];
}

async function once(daemon: Daemon, base: string, run: number): Promise<Result> {
  const { socket, pid, servers } = daemon;
  const kinds = Array.from({ length: builds }, (_, i) => (i < builds / 2 ? `${run}` : `${run}-${i}`));
  const contexts = new Map([...new Set(kinds)].map((kind) => [kind, context(base, kind)]));
  const steps = () => metric(socket, 'drydock_steps_run_total');
  const [stepsBefore, cpuBefore] = [await steps(), cpuOf(servers)];
  const idle = residentNow(pid);
  resetPeak(pid);
  let withChildren = 0;
  const sampling = setInterval(() => {
    withChildren = Math.max(withChildren, residentOf([pid]));
  }, 200);
  const stopPings = startPings(socket);
  const started = performance.now();
  // Interleaved, so that equal ones do not all come first.
  const order = kinds.map((_, i) => (i % 2 === 0 ? i / 2 : builds / 2 + (i - 1) / 2));
  const outcomes = await Promise.allSettled(
    order.map(async (i) => {
      const kind = kinds[i] as string;
      await postBuild(
        socket,
        { version: '2', t: `localhost/load:${run}-${i}` },
        contexts.get(kind) as Buffer,
      );
    }),
  );
  const wall = (performance.now() - started) / 1000;
  const cpu = cpuOf(servers) - cpuBefore;
  const pings = await stopPings();
  clearInterval(sampling);
  const peak = peakOf(pid);
  const layers = new Set<string>();
  for (const i of order) {
    const image = `localhost/load:${run}-${i}`;
    const known = await layersOf(socket, image).catch(() => []);
    if (known.length > 0) layers.add(known.at(-2) as string);
  }
  await sleep(untilRest);
  return {
    atRest: residentNow(pid),
    failed: outcomes.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : [])),
    wall,
    cpu,
    runs: layers.size,
    steps: (await steps()) - stepsBefore,
    idle,
    peak,
    withChildren,
    pings,
  };
}

export async function load(bench: Bench): Promise<string> {
  const base = await serveBase(bench);
  const rows: string[][] = [];
  const faults: string[] = [];
  for (const store of ['local', 'containerd'] satisfies StoreKind[]) {
    if (bench.only !== undefined && !store.includes(bench.only)) continue;
    const daemon = await startDrydock(bench, store);
    await ask(daemon.socket, 'POST', `/images/create?fromImage=${encodeURIComponent(base)}`);
    for (let run = 0; run < bench.runs; run++) {
      const result = await once(daemon, base, run);
      faults.push(...result.failed);
      progress(`${builds} builds on ${store}: ${result.wall.toFixed(2)} s`);
      rows.push([
        store,
        `${builds - result.failed.length} of ${builds}`,
        seconds(result.wall),
        seconds(result.cpu),
        `${result.runs} of ${builds}`,
        `${result.steps} of ${2 * builds}`,
        megabytes(result.idle),
        megabytes(result.peak),
        megabytes(result.withChildren),
        megabytes(result.atRest),
        milliseconds(median(result.pings)),
        milliseconds(quantile(result.pings, 0.99)),
        milliseconds(Math.max(...result.pings)),
      ]);
    }
  }
  const head = ['store', 'succeeded', 'all done in', 'CPU', 'RUN run', 'RUN and COPY run', 'memory before'];
  const tables = table([...head, 'peak', 'with children', 'at rest', '_ping median', 'p99', 'longest'], rows);
  return [
    `${builds} builds at once, half of them equal (${builds / 2 + 1} different), RUN and COPY of ${files} files each.`,
    "Memory is the daemon's own process, CPU with containerd and the containers.",
    tables,
    ...faults.slice(0, 5),
  ].join('\n\n');
}
