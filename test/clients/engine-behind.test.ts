/** docker's CLI with one DOCKER_HOST: Drydock builds, a real dockerd behind it runs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { unmountBelow } from '../../src/store/shared/run-folder.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-front-'));
const socket = join(dir, 'dockerd.sock');
let dockerd: ChildProcess;
let daemon: TestDaemon;
let log = '';

beforeAll(async () => {
  const folders = [
    '--data-root',
    join(dir, 'data'),
    '--exec-root',
    join(dir, 'exec'),
    '--pidfile',
    join(dir, 'pid'),
  ];
  const none = ['--bridge=none', '--iptables=false', '--ip6tables=false'];
  dockerd = spawn('dockerd', [...folders, ...none, '-H', `unix://${socket}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  dockerd.stderr?.on('data', (chunk: Buffer) => {
    log = (log + chunk).slice(-4000);
  });
  daemon = await startTestDaemon({ engine: `unix://${socket}` });
  for (let i = 0; ; i++) {
    if ((await daemon.ask('GET', '/containers/json')).status === 200) break;
    if (i > 300 || dockerd.exitCode !== null) throw new Error(`dockerd does not start: ${log}`);
    await sleep(200);
  }
});
afterAll(async () => {
  await daemon?.stop();
  if (dockerd?.exitCode === null) {
    dockerd.kill('SIGTERM');
    await new Promise((resolve) => dockerd.once('exit', resolve));
  }
  unmountBelow(dir);
  rmSync(dir, { recursive: true, force: true });
});

test('build, run, exec and remove; only what is new goes over', async () => {
  const context = join(dir, 'context');
  mkdirSync(context);
  await copyFile('/bin/busybox', join(context, 'busybox'));
  writeFileSync(
    join(context, 'Dockerfile'),
    'FROM scratch AS one\nCOPY busybox /bin/sh\nFROM one\nCOPY Dockerfile /d\n',
  );
  const docker = async (...args: string[]) => {
    const { code, stdout, stderr } = await daemon.docker(args);
    expect(code, stderr).toBe(0);
    return stdout.trim();
  };
  await docker('build', '-q', '--target', 'one', '-t', 'one', context);
  expect(await docker('run', '--rm', '--network', 'none', 'one', 'sh', '-c', 'echo ran')).toBe('ran');
  await docker('build', '-q', '-t', 'two', context);
  await docker('run', '-d', '--name', 'cc', '--network', 'none', 'two', 'sh', '-c', 'read x < /dev/zero');
  const { code, stdout } = await daemon.docker(['exec', '-i', 'cc', 'sh', '-c', 'read x; echo got $x'], {
    input: 'typed\n',
  });
  expect([code, stdout.trim()]).toEqual([0, 'got typed']);
  const over = daemon.log().filter(({ msg, message }) => `${msg ?? message}`.includes('handed over'));
  expect(over.map(({ image, leftOut }) => [image, leftOut])).toEqual([
    ['one', 0],
    ['two', 1],
  ]);
  const inUse = await daemon.docker(['rmi', 'two']);
  expect(inUse.code).toBe(1);
  expect(inUse.stderr).toContain('is using its referenced image');
  await docker('rm', '-f', 'cc');
  await docker('rmi', 'two');
  expect(await docker('images', '-q', 'two')).toBe('');
});
