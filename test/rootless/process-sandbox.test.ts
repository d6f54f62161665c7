/**
 * Rootless in a container that has no rights beyond those of any other: parts of its /proc are hidden, so steps can have
 * none of their own. `no-process-sandbox` leaves steps among the container's processes, as BuildKit's setting does.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busyboxRoot } from '../kit/busybox.ts';
import { OrdinaryUser } from '../kit/ordinary-user.ts';

let user: OrdinaryUser;
let context: string;
const off = { DRYDOCK_NO_PROCESS_SANDBOX: '1' };

beforeAll(() => {
  user = new OrdinaryUser();
  const root = mkdtempSync(join(tmpdir(), 'drydock-sandbox-'));
  busyboxRoot(root);
  mkdirSync(join(root, 'dev'));
  const tar = execFileSync('tar', ['-C', root, '-c', '.'], { maxBuffer: 1 << 26 });
  rmSync(root, { recursive: true });
  context = user.files('context', {
    'root.tar': tar,
    Dockerfile: 'FROM scratch\nADD root.tar /\nENV PATH=/bin\nARG RUN\nRUN eval "$RUN"\n',
  });
});
afterAll(() => user?.close());

/** The command line of a build with this step, and the options for a /proc that is hidden in part. */
function build(run: string, env: Record<string, string> = {}) {
  const args = ['build', '--progress=plain', '--no-cache', '--build-arg', `RUN=${run}`, context];
  // The kernel also looks whether another /proc shows everything.
  const others =
    'while read -r _ at type _; do [ $type$at = proc/proc ] || [ $type != proc ] || umount -l $at; done';
  return [args, { env, before: `mount -t tmpfs -o ro none /proc/driver; ${others} </proc/mounts` }] as const;
}

test('without the setting, the error names it, and so does doctor', async () => {
  const { code, stderr } = await user.drydock(...build('echo x'));
  expect(code).toBe(1);
  expect(stderr).toContain('a step can have no /proc of its own');
  expect(stderr).toContain('DRYDOCK_NO_PROCESS_SANDBOX=1');
  const doctor = await user.drydock(['doctor'], build('')[1]);
  expect(doctor.stdout).toMatch(/LACK {2}process sandbox .*\n.*DRYDOCK_NO_PROCESS_SANDBOX=1/);
});

test('with it, a step is one of the machine’s processes, and its exit code is its own', async () => {
  const { code, stderr } = await user.drydock(
    ...build('echo pid $$; cat /proc/$$/comm; ls -d /proc/driver; exit 9', off),
  );
  expect(stderr).toContain('exit code: 9');
  expect(code).not.toBe(0);
  expect(Number(/ pid (\d+)\n/.exec(stderr)?.[1])).toBeGreaterThan(100);
  expect(stderr).toMatch(/ sh\n/);
});

test('what a step leaves running is ended with it, and by Ctrl-C too', async () => {
  const { code, stderr } = await user.drydock(
    ...build('sleep 1000 & (setsid sleep 1000 &) ; sleep 0.1; echo done', off),
  );
  expect(code, stderr).toBe(0);
  expect(user.processes()).toEqual([]);

  const [args, options] = build('echo begun; (sleep 1000 &); sleep 1000', off);
  const child = user.start([user.command, ...args], options);
  await new Promise<void>((resolve) => {
    child.stderr.on('data', (text) => /\d begun/.test(String(text)) && resolve());
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGINT');
  expect(await ended).toBe(130);
  expect(user.processes()).toEqual([]);
});

test('what kill -9 leaves is ended by the next build', async () => {
  const [args, options] = build('echo begun; sleep 1000', off);
  const child = user.start([user.command, ...args], options);
  await new Promise<void>((resolve) => {
    child.stderr.on('data', (text) => /\d begun/.test(String(text)) && resolve());
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  child.stderr.destroy();
  child.stdout.destroy();
  expect(user.processes()).not.toEqual([]);
  await user.ok(...build('true', off));
  expect(user.processes()).toEqual([]);
});

test('it is refused to root, whose steps would see everything', () => {
  const run = () =>
    execFileSync(user.command, ['images'], {
      env: { ...process.env, ...off, DRYDOCK_ROOT: join(user.home, 'r') },
    });
  expect(run).toThrow(/can't enable NoProcessSandbox without Rootless/);
});
