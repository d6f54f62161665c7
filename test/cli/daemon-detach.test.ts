/** `drydock daemon --detach`: it serves in the background, is stopped and started again, and its log stays short. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Cli } from '../kit/cli.ts';

const cli = new Cli();
afterAll(async () => {
  await cli.run(['daemon', '--stop']);
  cli.close();
});
const log = join(cli.root, 'daemon/log');

test('it serves, refuses a second one, and is stopped and started again', async () => {
  const { stdout } = await cli.ok(['daemon', '--detach']);
  const env = { DRYDOCK_HOST: stdout.trim() };
  expect(stdout).toMatch(/^unix:\/\/.*drydock\.sock\n$/);
  const dir = cli.files('one', { Dockerfile: 'FROM scratch\nCOPY f /\n', f: 'f' });
  await cli.ok(['build', '-q', '-t', 'one', dir], { env });
  const second = await cli.run(['daemon', '--detach']);
  expect([second.code, second.stderr]).toEqual([1, expect.stringContaining('the daemon has not come up')]);
  await cli.ok(['build', '-q', '-t', 'one', dir], { env });
  await cli.ok(['daemon', '--stop']);
  expect((await cli.run(['images'], { env })).code).toBe(1);
  expect((await cli.ok(['daemon', '--detach'])).stdout).toBe(stdout);
  expect((await cli.ok(['images'], { env })).stdout).toContain('one');
  await cli.ok(['daemon', '--stop']);
  expect(readFileSync(log, 'utf8').match(/is ready/g)).toHaveLength(2);
}, 60_000);

test('a long log is set aside when a daemon begins', async () => {
  truncateSync(log, 17 << 20);
  await cli.ok(['daemon', '--detach']);
  expect(statSync(`${log}.1`).size).toBe(17 << 20);
  expect(readFileSync(log, 'utf8')).toContain('is ready');
  await cli.ok(['daemon', '--stop']);
}, 60_000);

test('a signal that is meant for another daemon opens no debugger', async () => {
  await cli.ok(['daemon', '--detach']);
  const pid = Number(readFileSync(join(cli.root, 'daemon/pid'), 'utf8'));
  process.kill(pid, 'SIGUSR1');
  process.kill(pid, 'SIGHUP');
  await expect.poll(() => readFileSync(log, 'utf8')).toContain('reloading');
  // Node says so from a thread of its own.
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(readFileSync(log, 'utf8')).not.toContain('Debugger');
  await cli.ok(['daemon', '--stop']);
}, 60_000);

test('and while it serves; what is printed besides goes to the same file', () => {
  const file = join(cli.dir, 'writer/log');
  mkdirSync(dirname(file));
  writeFileSync(file, 'before\n');
  const fd = openSync(file, 'a');
  const source = join(import.meta.dirname, '../../src/cli/background/log-file.ts');
  const script = `import { logWriter } from ${JSON.stringify(source)};
    const write = logWriter(${JSON.stringify(file)}, process.stderr, 40);
    for (let i = 0; i < 5; i++) write('line ' + i + ' of ten\\n');
    process.stderr.write('a crash\\n');`;
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'ignore', fd],
  });
  closeSync(fd);
  expect(status).toBe(0);
  expect(readFileSync(`${file}.1`, 'utf8')).toBe('before\nline 0 of ten\nline 1 of ten\nline 2 of ten\n');
  expect(readFileSync(file, 'utf8')).toBe('line 3 of ten\nline 4 of ten\na crash\n');
});
