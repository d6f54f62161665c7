/**
 * The life of a pod: it starts, is ready, drains while a build runs, comes again on an empty disk with a warm shared cache, is
 * killed in the middle, and goes on with its disk.
 */
import { once } from 'node:events';
import { copyFileSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Cli, type Output } from '../kit/cli.ts';
import { type RunningPod, startCluster, type TestCluster } from '../kit/kube/cluster.ts';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

let cli: Cli;
let cluster: TestCluster;
/** Steps of builds ask it, and run until they are answered. */
const asked: ServerResponse[] = [];
const gate = createServer((_, response) => void asked.push(response));

beforeAll(async () => {
  cli = new Cli();
  cluster = await startCluster();
  gate.listen(0, '127.0.0.1');
  await once(gate, 'listening');
});
afterAll(async () => {
  gate.closeAllConnections();
  gate.close();
  await cluster?.stop();
  cli?.close();
});

const pod = (name: string, root?: string): Promise<RunningPod> =>
  cluster.run(
    name,
    { app: 'drydock' },
    {
      args: ['--debugaddr', '127.0.0.1:0'],
      env: { DRYDOCK_SHARED_CACHE: `dir:${join(cli.dir, 'shared')}`, DRYDOCK_SHUTDOWN_TIMEOUT: '120' },
      root,
    },
  );

/** Begins a build whose step waits at the gate. */
function build(what: string): Promise<Output> {
  const dir = cli.files('context', {});
  copyFileSync('/bin/busybox', join(dir, 'busybox'));
  const { port } = gate.address() as AddressInfo;
  const step = `RUN busybox wget -q -O /${what} http://127.0.0.1:${port}/${what}`;
  writeFileSync(
    join(dir, 'Dockerfile'),
    `FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\n${step}\n`,
  );
  return cli.run(['--host', 'kube://default/app=drydock', 'build', '--progress', 'plain', dir], {
    env: { KUBECONFIG: cluster.kubeconfig() },
  });
}

const atGate = () => expect.poll(() => asked.length, { timeout: 120_000 }).toBe(1);
const pass = () => asked.splice(0).forEach((response) => void response.end('made'));

test('start, drain, an empty disk with a warm shared cache, kill -9, and the same disk again', async () => {
  const first = await pod('drydock-0');
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(first.log())?.[0];
  const health = async (path: string) => (await fetch(`${url}${path}`)).status;
  expect(await health('/readyz')).toBe(200);

  // It is told to end while a build runs: no new builds, and the running one has its time.
  const running = build('one');
  await atGate();
  const gone = cluster.delete('drydock-0');
  await expect.poll(() => health('/readyz'), { timeout: 60_000 }).toBe(503);
  expect(await health('/livez')).toBe(200);
  expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^drydock_builds_running 1$/m);
  expect((await build('other')).stderr).toMatch(/none is ready/);
  pass();
  expect(await running).toMatchObject({ code: 0 });
  await gone;
  expect(first.process.exitCode).toBe(0);

  // Another pod, which has nothing on its disk, finds the step in the shared cache: nobody comes to the gate.
  const second = await pod('drydock-1');
  const again = await build('one');
  expect(again).toMatchObject({ code: 0 });
  expect(again.stderr.match(/CACHED/g)?.length).toBe(3);
  expect(asked).toEqual([]);

  // Killed in the middle of a build: its client is told, and the next one on the disk sweeps and goes on.
  const broken = build('two');
  await atGate();
  second.process.kill('SIGKILL');
  expect(await broken).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/broke off|cannot reach|in the pod/),
  });
  asked.splice(0).forEach((response) => void response.destroy());
  await cluster.delete('drydock-1');
  await pod('drydock-2', second.root);
  const last = build('two');
  await atGate();
  pass();
  expect(await last).toMatchObject({ code: 0 });
});
