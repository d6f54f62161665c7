/** 1,000 builds in a row through POST /build on each store: what grows of the daemon, and what a prune leaves. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, progress } from '../bench.ts';
import { serveBase } from '../kit/base.ts';
import { type Daemon, type StoreKind, startDrydock } from '../kit/daemons.ts';
import { ask, postBuild } from '../kit/engine-api.ts';
import { cpuOf, openFilesOf, residentNow } from '../kit/process.ts';
import { megabytes, table } from '../kit/table.ts';
import { textTar } from '../kit/tar.ts';

const marks = [1, 100, 250, 500, 1000];

/** How many files and folders are below a folder; 0 when it is not there. */
function entriesBelow(folder: string): number {
  let count = 0;
  if (!existsSync(folder)) return 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    count++;
    if (entry.isDirectory()) count += entriesBelow(join(folder, entry.name));
  }
  return count;
}

/** Every fifth build runs a step that no other has; all of them copy a file that no other has. */
function context(base: string, n: number): Buffer {
  const run = n % 5 === 0 ? `RUN echo ${n} > /n\n` : '';
  return textTar({ Dockerfile: `FROM ${base}\n${run}COPY file /file\n`, file: `build ${n}\n` });
}

async function row(daemon: Daemon, root: string, base: string, builds: number): Promise<string[][]> {
  const { socket, pid, servers } = daemon;
  const rows: string[][] = [];
  let cpu = cpuOf(servers);
  let last = 0;
  const note = (what: string, count: number) => {
    const now = cpuOf(servers);
    const each = count === 0 ? '' : `${(((now - cpu) / count) * 1000).toFixed(1)} ms`;
    cpu = now;
    const files = ['run', 'ingest'].reduce((sum, name) => sum + entriesBelow(join(root, name)), 0);
    const all = entriesBelow(root);
    const open = String(openFilesOf(pid));
    rows.push([daemon.name, what, megabytes(residentNow(pid)), open, String(files), String(all), each]);
  };
  note('at the start', 0);
  for (let n = 1; n <= builds; n++) {
    await postBuild(socket, { version: '1', t: 'localhost/long' }, context(base, n));
    if (!marks.includes(n)) continue;
    note(`${n}`, n - last);
    last = n;
    progress(`${daemon.name}: ${n} builds`);
  }
  await ask(socket, 'DELETE', '/images/localhost/long?force=1');
  await ask(socket, 'POST', '/images/prune');
  await ask(socket, 'POST', '/build/prune?all=1');
  note('after a prune', 0);
  return rows;
}

export async function long(bench: Bench): Promise<string> {
  const base = await serveBase(bench);
  const builds = bench.quick ? 250 : 1000;
  const rows: string[][] = [];
  for (const store of ['local', 'containerd'] satisfies StoreKind[]) {
    if (bench.only !== undefined && !store.includes(bench.only)) continue;
    const daemon = await startDrydock(bench, store);
    await ask(daemon.socket, 'POST', `/images/create?fromImage=${encodeURIComponent(base)}`);
    const data = join(bench.folder, `drydock-daemon-${store}`, 'data');
    const root = store === 'local' ? data : join(data, 'containerd/moby');
    rows.push(...(await row(daemon, root, base, builds)));
  }
  const head = ['daemon', 'builds', 'memory', 'open files', 'files of running work', 'files in its root'];
  return [
    `${builds} builds, one after the other; each copies a file of its own, and each fifth runs a step.`,
    table([...head, 'CPU of a build'], rows),
  ].join('\n\n');
}
