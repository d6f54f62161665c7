/**
 * Cgroups of a user who is not root: there are some where systemd has given the unit one (`Delegate=yes`). Here the test
 * gives it, in the machine's v2 tree.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busyboxRoot } from '../kit/busybox.ts';
import { OrdinaryUser } from '../kit/ordinary-user.ts';

const tree =
  ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((path) => existsSync(join(path, 'cgroup.procs'))) ?? '';
const name = `drydock-test-${process.pid}.service`;
const group = join(tree, name);
let user: OrdinaryUser;
let context: string;

beforeAll(() => {
  user = new OrdinaryUser();
  const root = mkdtempSync(join(tmpdir(), 'drydock-cgroups-'));
  busyboxRoot(root);
  const tar = execFileSync('tar', ['-C', root, '-c', '.'], { maxBuffer: 1 << 26 });
  rmSync(root, { recursive: true });
  context = user.files('context', {
    'root.tar': tar,
    Dockerfile: 'FROM scratch\nADD root.tar /\nENV PATH=/bin\nARG RUN\nRUN eval "$RUN"\n',
  });
});
afterAll(() => {
  user?.close();
  removeGroup();
});

function removeGroup(): void {
  if (existsSync(group)) for (const dir of groupsBelow(group).reverse()) rmdirSync(dir);
}

/** As systemd makes it when it starts the unit. */
function giveGroup(): void {
  removeGroup();
  mkdirSync(group);
  for (const file of ['.', 'cgroup.procs', 'cgroup.subtree_control', 'cgroup.threads']) {
    execFileSync('chown', [`${user.uid}:${user.gid}`, join(group, file)]);
  }
}

function groupsBelow(dir: string): string[] {
  const below = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [dir, ...below.flatMap((entry) => groupsBelow(join(dir, entry.name)))];
}

/** A build, as systemd would start it in the group, on a machine with v2 alone. */
function build(run: string) {
  giveGroup();
  const args = ['build', '--progress=plain', '--no-cache', '--build-arg', `RUN=${run}`, context];
  const before = `echo $$ >${group}/cgroup.procs; mount -t cgroup2 none /sys/fs/cgroup`;
  return [args, { before }] as const;
}

test('steps have groups of their own in the group that was given, and leave none', async () => {
  const { code, stderr } = await user.drydock(...build('echo in $(cat /proc/self/cgroup); sleep 0.2'));
  expect(code, stderr).toBe(0);
  // Its own cgroup namespace begins there.
  expect(stderr).toMatch(/ 0::\/\n/);
  expect(groupsBelow(group).map((dir) => dir.slice(group.length))).toEqual(['', '/drydock', '/drydock-main']);
  const doctor = await user.drydock(['doctor'], build('')[1]);
  expect(doctor.stdout).toMatch(/ok {4}cgroups +v2/);
});

test('processes that a step leaves in its group are ended with it', async () => {
  const { code } = await user.drydock(...build('(setsid sleep 1000 &); true'));
  expect(code).toBe(0);
  expect(user.processes()).toEqual([]);
});

test('a limit for which the group has no controller is told', async () => {
  const [args, options] = build('true');
  const { code, stderr } = await user.drydock([...args.slice(0, -1), '--memory=64m', context], options);
  expect(code, stderr).toBe(0);
  // Machines with v1 beside v2 have their controllers there.
  if (!existsSync(join(group, 'memory.max'))) expect(stderr).toContain('no memory cgroup');
});

test('a group with processes of others is left alone', async () => {
  const [args, options] = build('true');
  const other = user.start(['sleep', '1000'], { before: `echo $$ >${group}/cgroup.procs` });
  await expect.poll(() => readFileSync(join(group, 'cgroup.procs'), 'utf8')).toBe(`${other.pid}\n`);
  const { code, stderr } = await user.drydock(args, options);
  expect(code, stderr).toBe(0);
  expect(groupsBelow(group)).toEqual([group]);
  other.kill('SIGKILL');
  await once(other, 'close');
});
