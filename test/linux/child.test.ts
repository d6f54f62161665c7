import { closeSync, openSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { pipe, startProgram } from '../../src/linux/index.ts';

const env = { PATH: '/usr/bin:/bin', GIVEN: "it's" };

/** Runs a line of a shell; gives its exit code and its output. */
async function run(line: string): Promise<{ code: number; out: string }> {
  const [read, write] = pipe();
  const child = startProgram('/bin/sh', ['sh', '-c', line], { env, fds: ['ignore', write, 'ignore'] });
  closeSync(write);
  const out = await text(new Socket({ fd: read, readable: true, writable: false }));
  return { code: await child.ended, out };
}

test('a program tells its exit code, or the signal that ended it', async () => {
  expect(await run('exit 3')).toEqual({ code: 3, out: '' });
  expect(await run('kill -TERM $$')).toEqual({ code: 128 + 15, out: '' });
  const child = startProgram('/bin/sleep', ['sleep', '100'], { env, fds: [] });
  expect(child.isOver).toBe(false);
  expect(child.kill('SIGKILL')).toBe(true);
  expect(await child.ended).toBe(128 + 9);
  expect(child.isOver).toBe(true);
  expect(child.kill('SIGKILL')).toBe(false);
});

test('a program has its own variables, the folder / and no other file of this process', async () => {
  const fd = openSync('/etc/passwd', 'r');
  const [read, write] = pipe();
  const { out } = await run('env; pwd; readlink /proc/self/fd/*');
  const { out: fds } = await run('ls /proc/self/fd');
  for (const each of [fd, read, write]) closeSync(each);
  expect(out).toContain('\n/\n/dev/null\n');
  expect(out).toContain("GIVEN=it's\n");
  expect(out).not.toContain('HOME=');
  for (const each of [fd, read, write]) expect(fds.split('\n')).not.toContain(`${each}`);
});

test('a program has no signal ignored or blocked that this process ignores', async () => {
  // libuv ignores SIGPIPE.
  expect(readFileSync('/proc/self/status', 'utf8')).toMatch(/^SigIgn:\s\w+1000$/m);
  const { out } = await run('exec grep -E "^Sig(Ign|Blk)" /proc/self/status');
  expect(out).toMatch(/SigBlk:\s0+\nSigIgn:\s0+\n/);
});

test('a program that is not there, or is none, is an error at once, and leaves nothing', () => {
  expect(() => startProgram('/no/such', ['such'], { env, fds: [] })).toThrow(/ENOENT/);
  expect(() => startProgram('/etc/passwd', ['passwd'], { env, fds: [] })).toThrow(/EACCES/);
  expect(process.listenerCount('SIGCHLD')).toBe(0);
});

test('the ends of many at once are all heard of, each with its own code', async () => {
  const codes = Array.from({ length: 60 }, (_, i) => i);
  const children = codes.map((code) =>
    startProgram('/bin/sh', ['sh', '-c', `exit ${code}`], { env, fds: [] }),
  );
  expect(await Promise.all(children.map(({ ended }) => ended))).toEqual(codes);
  expect(process.listenerCount('SIGCHLD')).toBe(0);
});

test('a thread hears of the end of its programs, too', async () => {
  const worker = new Worker(
    `const { startProgram } = await import(${JSON.stringify(new URL('../../src/linux/child.ts', import.meta.url).href)});
     const child = startProgram('/bin/sh', ['sh', '-c', 'sleep 0.1; exit 5'], { env: {}, fds: [] });
     (await import('node:worker_threads')).parentPort.postMessage(await child.ended);`,
    { eval: true, execArgv: ['--input-type=module'] },
  );
  expect(await new Promise((resolve) => worker.once('message', resolve))).toBe(5);
});

test('a process goes on for a program that is held, and not for another', async () => {
  const module = JSON.stringify(new URL('../../src/linux/child.ts', import.meta.url).href);
  const script = (isHeld: boolean) =>
    `const { startProgram } = await import(${module});
     const child = startProgram('/bin/sh', ['sh', '-c', 'sleep 0.3'], { env: {}, fds: [] });
     child.hold(${isHeld});
     child.ended.then(() => console.log('ended'));`;
  const node = (isHeld: boolean) =>
    run(`exec '${process.execPath}' --input-type=module -e "$(cat <<'E'\n${script(isHeld)}\nE\n)"`);
  expect(await node(true)).toEqual({ code: 0, out: 'ended\n' });
  expect((await node(false)).out).toBe('');
});
