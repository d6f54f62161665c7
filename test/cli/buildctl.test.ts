/** `drydock buildctl` at a daemon: what drivers, probes and operators ask of buildctl. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { Cli, outputOf } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

let cli: Cli;
let daemon: TestDaemon;

beforeAll(async () => {
  cli = new Cli();
  daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host) });
});
afterAll(async () => {
  await daemon?.stop();
  cli?.close();
});

const ask = (...args: string[]) => cli.ok(['buildctl', '--addr', daemon.host, ...args]);

test('workers, as a table, in full and as JSON', async () => {
  const { stdout } = await ask('debug', 'workers');
  const [head, row = ''] = stdout.split('\n');
  expect(head).toMatch(/^ID\s+PLATFORMS$/);
  const [, id, platforms] = /^(\S+)\s+(linux\/\S+)$/.exec(row) ?? [];
  const [worker] = JSON.parse((await ask('debug', 'workers', '--format', '{{json .}}')).stdout);
  expect(worker.id).toBe(id);
  expect(platforms?.startsWith(`${worker.platforms[0].os}/${worker.platforms[0].architecture}`)).toBe(true);
  expect(worker.labels['org.mobyproject.buildkit.worker.executor']).toBe('oci');
  expect((await ask('debug', 'workers', '-v')).stdout).toContain(`ID:         ${id}\n`);
  expect((await ask('debug', 'workers', '-f', 'id==none')).stdout.split('\n')).toHaveLength(2);
  expect((await ask('debug', 'info')).stdout).toContain('BuildKit: github.com/moby/buildkit v');
});

test('du, prune, and the histories', async () => {
  const context = cli.files('context', { Dockerfile: 'FROM scratch\nCOPY f /\n', f: 'text' });
  await cli.ok(['--host', daemon.host, 'build', '-q', '-o', 'type=cacheonly', context]);
  expect((await ask('du')).stdout).toMatch(/Total:\s+[1-9]/);
  const records = JSON.parse((await ask('du', '--format', '{{json .}}')).stdout);
  expect(records.map(({ description }: { description: string }) => description)).toContain('[1/1] COPY f /');
  expect((await ask('du', '-v')).stdout).toMatch(/Description:\s+\[1\/1\] COPY f \//);
  expect((await ask('prune', '--keep-duration', '1h', '--all')).stdout).toBe('Total:\t0B\n');
  expect((await ask('prune', '--filter', 'description~=COPY')).stdout).toMatch(/Total:\t[1-9]/);
  expect((await ask('prune', '--all')).stdout).toMatch(/Total:\t[1-9]/);
  expect((await ask('du')).stdout).toMatch(/Total:\s+0B/);
  expect((await ask('prune-histories')).stdout).toBe('');
});

test('dial-stdio is a connection with the daemon', async () => {
  const child = cli.start(['buildctl', 'dial-stdio'], { env: { BUILDKIT_HOST: daemon.host } });
  child.stdin?.write('GET /_ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  const { code, stdout } = await outputOf(child);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^HTTP\/1\.1 200 OK.*OK/s);
});

test('--wait waits for a daemon, and --timeout ends that', async () => {
  const socket = join(cli.dir, 'late.sock');
  const missing = await cli.run(['buildctl', '--addr', `unix://${socket}`, '--timeout', '1', '--wait', 'du']);
  expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('cannot reach the daemon')]);
  const waiting = cli.run(['buildctl', '--addr', `unix://${socket}`, '--timeout', '60', '--wait', 'du']);
  await sleep(500);
  const drydock = join(import.meta.dirname, '../../bin/drydock');
  const args = ['buildkitd', '--root', join(cli.dir, 'late'), '--addr', `unix://${socket}`];
  const late = spawn(drydock, args, { stdio: 'ignore' });
  expect((await waiting).stdout).toMatch(/Total:\s+0B/);
  late.kill('SIGTERM');
  await new Promise((resolve) => late.once('exit', resolve));
});

test('what it has not, and what cannot be read, is said', async () => {
  const said = async (...args: string[]) =>
    (await cli.run(['buildctl', '--addr', daemon.host, ...args])).stderr;
  expect(await said('build')).toContain('drydock build');
  expect(await said('constructor')).toContain('unknown command: buildctl constructor');
  expect(await said('debug', 'worker')).toContain('Did you mean `buildctl debug workers`?');
  expect(await said('du', '--format', '{{.ID}}')).toContain('{{json .}}');
  expect(await said('prune', '--keep-storage', 'much')).toContain('no number of megabytes');
  expect(await said('prune', '--keep-duration', '-1h')).toContain('below zero');
  expect(await said('--tlscert', 'x', 'du')).toContain('belong together');
  expect((await cli.ok(['buildctl', '--version'])).stdout).toMatch(/^buildctl drydock \d/);
  expect((await cli.run(['buildkitd', '--log-level', 'loud'])).stderr).toContain(
    'invalid --log-level "loud"',
  );
  expect((await cli.ok(['buildkitd', '--version'])).stdout).toMatch(/^buildkitd drydock \d/);
});
