/** Signals to programs that read lazy files past the kernel's page cache, where a signal reaches the filesystem. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';
import { outputOf } from '../kit/cli.ts';
import { type FaultProxy, startFaultProxy } from '../kit/fault-proxy.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-signals-'));
const builds = new Builds();
let registry: TestRegistry;
let proxy: FaultProxy;
/** The host's path of a folder with two lazy files. */
let lazy: string;

beforeAll(async () => {
  registry = await startRegistry();
  proxy = await startFaultProxy(registry.host);
  const publisher = new Builds();
  await publisher.open();
  const large = () => randomBytes(1 << 20).toString('latin1');
  const attrs = { push: 'true', compression: 'estargz', 'force-compression': 'true' };
  const tags = [`${registry.host}/base:1`];
  const files = { one: large(), two: large() };
  await publisher.build('FROM base\nCOPY . /lazy', files, { tags, outputs: [{ type: 'image', attrs }] });
  await publisher.close();
  const root = join(dir, 'root');
  builds.engine = await openEngine({ root, snapshotter: 'stargz', maxDownloadAttempts: 1 });
  await builds.build(`FROM ${proxy.host}/base:1\nRUN true`);
  const layer = readdirSync(join(root, 'snapshots')).find((name) =>
    readdirSync(join(root, 'snapshots', name, 'fs')).includes('lazy'),
  );
  const [run] = readdirSync(join(root, 'run'));
  lazy = join(root, 'run', run as string, 'lazy-layers', layer as string, 'lazy');
}, 100_000);
afterAll(async () => {
  await builds.close();
  await proxy.stop();
  await registry.stop();
  await closePool();
  rmSync(dir, { recursive: true, force: true });
});

/** Begins to read a file. The reader gets a signal each 20 ms, and does not read again when that ends its call. */
function reader(file: string) {
  const direct = process.arch === 'arm64' ? 0x10000 : 0x4000;
  const script = `use Time::HiRes 'ualarm'; $SIG{ALRM} = sub {}; sysopen(F, $ARGV[0], ${direct}) or die $!;
    ualarm(20000, 20000); my $n = sysread(F, my $bytes, 4096); print defined $n ? "read $n" : "error $!"`;
  return spawn('perl', ['-e', script, join(lazy, file)]);
}

test('a signal that does not end a program does not end its read', async () => {
  proxy.fault = () => ({ until: new Promise((resolve) => setTimeout(resolve, 500)) });
  expect((await outputOf(reader('one'))).stdout).toBe('read 4096');
});

test('a program that had such a signal can still be killed while it reads', async () => {
  const asked = Promise.withResolvers<void>();
  proxy.fault = () => {
    asked.resolve();
    return 'silence';
  };
  const child = reader('two');
  await asked.promise;
  await new Promise((resolve) => setTimeout(resolve, 200));
  child.kill('SIGKILL');
  const at = Date.now();
  await outputOf(child);
  expect(Date.now() - at).toBeLessThan(10_000);
});
