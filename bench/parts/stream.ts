/** A 2 GB context streams in through POST /build. */
import { type Bench, progress } from '../bench.ts';
import { type Daemon, startDockerd, startDrydock } from '../kit/daemons.ts';
import { ask, postBuild } from '../kit/engine-api.ts';
import { cpuOf, peakOf, resetPeak, residentNow } from '../kit/process.ts';
import { megabytes, seconds, table } from '../kit/table.ts';
import { noiseTar } from '../kit/tar.ts';

const shapeOf = ({ quick }: Bench) => ({ count: quick ? 50 : 200, size: 10 << 20 });

const scenarios: { name: string; dockerfile: string }[] = [
  { name: 'one small file is copied', dockerfile: 'FROM scratch\nCOPY small /small\n' },
  { name: 'all of it is copied', dockerfile: 'FROM scratch\nCOPY data /data\n' },
];

async function once(
  daemon: Daemon,
  dockerfile: string,
  shape: ReturnType<typeof shapeOf>,
): Promise<string[]> {
  const { pid, servers, socket } = daemon;
  const total = shape.count * shape.size;
  const before = residentNow(pid);
  const cpuBefore = cpuOf(servers);
  const quarters: number[] = [];
  /** Looks at the daemon's memory as the stream goes. */
  async function* watched(): AsyncGenerator<Buffer> {
    let sent = 0;
    for await (const chunk of noiseTar({ Dockerfile: dockerfile, small: 'small\n' }, shape)) {
      yield chunk;
      sent += chunk.length;
      if (sent >= ((quarters.length + 1) * total) / 4) quarters.push(residentNow(pid));
    }
  }
  resetPeak(pid);
  const started = performance.now();
  await postBuild(socket, { version: '1', t: 'localhost/stream' }, watched());
  const wall = (performance.now() - started) / 1000;
  return [
    seconds(wall),
    `${Math.round(total / 1e6 / wall)} MB/s`,
    seconds(cpuOf(servers) - cpuBefore),
    megabytes(before),
    quarters
      .slice(0, 4)
      .map((bytes) => String(Math.round(bytes / 1e6)))
      .join(', '),
    megabytes(peakOf(pid)),
  ];
}

export async function stream(bench: Bench): Promise<string> {
  const shape = shapeOf(bench);
  const start: [string, () => Promise<Daemon>][] = [
    ['dockerd', () => startDockerd(bench)],
    ['drydock local', () => startDrydock(bench, 'local')],
    ['drydock containerd', () => startDrydock(bench, 'containerd')],
  ];
  const rows: string[][] = [];
  for (const [name, begin] of start) {
    if (bench.only !== undefined && !name.includes(bench.only)) continue;
    const daemon = await begin();
    for (const { name: what, dockerfile } of scenarios) {
      for (let run = 0; run < bench.runs; run++) {
        rows.push([what, daemon.name, ...(await once(daemon, dockerfile, shape))]);
        progress(`${what}: ${daemon.name} ${rows.at(-1)?.[2]}`);
        await ask(daemon.socket, 'DELETE', '/images/localhost/stream?force=1');
        await ask(daemon.socket, 'POST', '/build/prune?all=1');
      }
    }
  }
  const head = ['of the context', 'daemon', 'all done in', 'speed', 'CPU', 'memory before'];
  return [
    `A tar of ${megabytes(shape.count * shape.size)} without repetitions, made on the fly, posted to /build (version 1).`,
    "Memory is the daemon's own process: before, at each quarter of the stream, and its peak.",
    table([...head, 'at each quarter, MB', 'peak'], rows),
  ].join('\n\n');
}
