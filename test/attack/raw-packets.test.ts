/**
 * Packets that a step makes up itself. Where a process speaks for the step (pasta), nothing but routes of the step's
 * namespace keeps it from this host: a packet that takes no route would be spoken to anybody, the host's loopback too.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ExecControl, ExecSpec } from '../../src/executor/types.ts';
import { createNetwork, type Network } from '../../src/network/index.ts';
import { Harness } from '../executor/harness.ts';

let dir: string;
let h: Harness;
let network: Network;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-raw-'));
  network = createNetwork(dir, { mode: 'pasta', poolSize: 1 });
  h = new Harness({ network });
  mkdirSync(join(h.lower, 'usr'), { recursive: true });
  for (const name of ['lib', 'lib64']) symlinkSync(`usr/${name}`, join(h.lower, name));
});
afterAll(async () => {
  h.close();
  await network.close();
  rmSync(dir, { recursive: true, force: true });
});

const usr: ExecSpec['mounts'] = [{ dest: '/usr', readonly: true, source: { type: 'host', path: '/usr' } }];
/** Family, type and protocol of sockets: of all packets, of IPv4's and IPv6's own making, of one protocol. */
const sockets = [
  [17, 3, 0x300],
  [17, 2, 0x300],
  [2, 3, 255],
  [10, 3, 255],
  [2, 3, 1],
];
const program = sockets
  .map((each) => `print socket(my $s, ${each.join(', ')}) ? "made" : "refused " . ($! + 0), "\\n";`)
  .join('\n');
const args = ['/usr/bin/perl', '-e', program];
const refused = sockets.map(() => 'refused 1\n').join('');

test('a step for which a process speaks makes none', async () => {
  const { out, err } = await h.run(args, { mounts: usr });
  expect([out, err]).toEqual([refused, '']);
});

test('nor does a process that joins it later', async () => {
  const { spec } = h.spec('sleep 30', { mounts: usr });
  const stop = new AbortController();
  const container = await new Promise<ExecControl>((started, reject) => {
    const io = { stdout() {}, stderr() {}, started };
    h.executor.run(spec, io, stop.signal).catch(reject);
  });
  const out: Buffer[] = [];
  const io = { stdout: (chunk: Buffer) => void out.push(chunk), stderr() {} };
  await container.exec({ ...spec, args }, io, new AbortController().signal);
  stop.abort();
  expect(Buffer.concat(out).toString()).toBe(refused);
});
