/** kill -9 of a whole build, at many points between its first millisecond and its last. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { detectCgroups } from '../../src/executor/cgroups.ts';
import { openLocalStore } from '../../src/store/local/open.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import { Cli, outputOf } from '../kit/cli.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

const points = 10;

let cli: Cli;
let registry: TestRegistry;
let context: string;

beforeAll(async () => {
  cli = new Cli();
  registry = await startRegistry();
  const maker = { env: { DRYDOCK_ROOT: join(cli.dir, 'maker') } };
  const base = `${registry.host}/base`;
  const root = cli.files('base', { Dockerfile: 'FROM scratch\nCOPY root /\nENV PATH=/bin\n' });
  busyboxRoot(join(root, 'root'));
  await cli.ok(['build', '-t', base, '--push', root], maker);

  const files: Record<string, string> = {
    'secret.txt': 'hush',
    Dockerfile: `
      FROM ${base} AS one
      ARG ROUND
      COPY files /files
      RUN --mount=type=cache,target=/c echo $ROUND >> /c/rounds && cp -r /files /copied
      FROM ${base} AS two
      ARG ROUND
      RUN --mount=type=secret,id=s --mount=type=tmpfs,target=/t echo $ROUND > /two; sleep 0.1
      FROM ${base}
      COPY --from=one /copied /copied
      COPY --from=two /two /
      RUN rm /copied/f1 && chmod 4755 /copied/f2 && echo done > /end`,
  };
  for (let i = 0; i < 150; i++) files[`files/f${i}`] = `${i}\n${'x'.repeat(i * 50)}`;
  context = cli.files('context', files);
});
afterAll(async () => {
  await registry?.stop();
  cli?.close();
});

function buildArgs(root: string, round: number): string[] {
  const secret = `id=s,src=${join(context, 'secret.txt')}`;
  const outputs = ['-o', 'type=image', '-o', `type=oci,dest=${join(cli.dir, 'image.tar')},compression=zstd`];
  return [
    '--root',
    root,
    'build',
    '-t',
    'app',
    '--build-arg',
    `ROUND=${round}`,
    '--secret',
    secret,
    ...outputs,
    context,
  ];
}

/** What one root has left behind on this machine. */
function left(root: string): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(root));
  const processes = readdirSync('/proc').flatMap((pid) => {
    try {
      const command = /^\d+$/.test(pid) ? readFileSync(`/proc/${pid}/cmdline`, 'latin1') : '';
      return command.includes(root) ? [`process ${pid}: ${command.replaceAll('\0', ' ')}`] : [];
    } catch {
      return []; // ended
    }
  });
  return [...mounts, ...processes];
}

/** Cgroups whose owners are in a root's executor folder. */
function cgroupsOf(root: string): string[] {
  const state = join(root, 'executor');
  const owners = existsSync(state) ? readdirSync(state).map((name) => name.replace('.owner', '')) : [];
  return detectCgroups().trees.flatMap((tree) => {
    const parent = join(tree, 'drydock');
    const groups = existsSync(parent) ? readdirSync(parent) : [];
    return groups.filter((name) => owners.some((owner) => name.startsWith(owner)));
  });
}

async function timed(round: number): Promise<number> {
  const begun = performance.now();
  await cli.ok(buildArgs(join(cli.dir, 'whole'), round));
  return performance.now() - begun;
}

const temporary = () =>
  readdirSync(tmpdir()).filter((name) => /^drydock-(?!cli-|[a-z]+-[A-Za-z0-9]{6}$)/.test(name));

test(`a build killed at any of ${points} points is followed by one that works, and nothing stays behind`, async () => {
  // How long one takes on a new root and on a used one: the points are spread over that.
  const [fresh = 0, used = 0] = [await timed(0), await timed(-1)];
  const before = temporary();
  let early = 0;

  // Each root is pulled into anew and then used for several rounds, as a machine's would be.
  for (let point = 0; point < points; point++) {
    const root = join(cli.dir, `root${Math.floor(point / 5)}`);
    const child = cli.start(buildArgs(root, point));
    const ended = outputOf(child);
    await sleep(((point % 5 === 0 ? fresh : used) * ((point * 5) % points)) / points);
    child.kill('SIGKILL');
    if ((await ended).code !== 0) early++;
    // The kernel takes the containers along with their parent.
    for (let i = 0; left(root).length > 0 && i < 100; i++) await sleep(20);
    expect(left(root), `after point ${point}`).toEqual([]);

    await cli.ok(buildArgs(root, point));
    const { stdout } = await cli.ok(['--root', root, 'doctor', '--verify']);
    expect(stdout).toMatch(/verified [1-9]\d* blobs and [1-9]\d* snapshots: all is well/);
    expect(left(root)).toEqual([]);
    expect(cgroupsOf(root)).toEqual([]);
    for (const folder of ['run', 'ingest']) expect(readdirSync(join(root, folder)), folder).toEqual([]);
    const store = await openLocalStore(root);
    const leases = await store.leases.list();
    await store.close();
    expect(leases.filter(({ pinned }) => !pinned)).toEqual([]);
  }
  expect(temporary()).toEqual(before);
  // The loop would prove nothing if the builds were over before they were killed.
  expect(early).toBeGreaterThan(points / 3);
}, 300_000);
