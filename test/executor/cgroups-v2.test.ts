/** What is read and written of cgroup v2, on a tree made of plain files: machines with v1 have none. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { passOnControllers } from '../../src/executor/cgroup-root.ts';
import { type CgroupHost, detectCgroups, killGroup, removeGroup } from '../../src/executor/cgroups.ts';
import { checkProcessors, limitsFor } from '../../src/executor/limits.ts';
import { shortageIn, shortageText } from '../../src/executor/shortage.ts';

let tree: string;
let host: CgroupHost;

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), 'drydock-cgroup-'));
  host = { kind: 'v2', trees: [tree], base: '', controllers: new Set(['cpuset', 'cpu', 'memory', 'pids']) };
  mkdirSync(join(tree, 'step/inner'), { recursive: true });
});
afterEach(() => rmSync(tree, { recursive: true }));

const mounted = (type: string, point = '/sys/fs/cgroup') =>
  `36 25 0:31 / ${point} rw,nosuid - ${type} cgroup rw,nsdelegate\n`;

test('a tree mounted at /sys/fs/cgroup is v2; one beside it is hybrid, which counts as v1', () => {
  const v2 = detectCgroups(mounted('cgroup2'));
  // Where this test cannot make groups, that is why there are none.
  expect(v2.kind === 'none' ? v2.reason : v2.trees).toEqual(
    v2.kind === 'none' ? expect.stringContaining('/sys/fs/cgroup cannot be written to') : ['/sys/fs/cgroup'],
  );
  const hybrid = detectCgroups(`${mounted('tmpfs')}${mounted('cgroup2', '/sys/fs/cgroup/unified')}`);
  expect(hybrid).toMatchObject({ kind: 'none', reason: 'no cgroup controllers are mounted' });
});

test('the kernel’s count of what it killed for want of memory is in memory.events', () => {
  const events = (kills: number) =>
    writeFileSync(
      join(tree, 'step/inner/memory.events'),
      `low 0\nhigh 0\nmax 12\noom 3\noom_kill ${kills}\noom_group_kill 0\n`,
    );
  const told = () => {
    const found = shortageIn(host, '/step/inner');
    return found && shortageText(found);
  };
  renameSync(join(tree, 'step/inner'), join(tree, 'step/other'));
  mkdirSync(join(tree, 'step/inner'));
  const file = (name: string, text: string) => writeFileSync(join(tree, 'step', name), `${text}\n`);
  expect(told()).toBeUndefined();
  events(0);
  expect(told()).toBeUndefined();
  events(10);
  // The machine itself had none left: there is no limit, or none that was reached.
  const machine = 'the kernel killed a process of it, for the machine had no memory left';
  expect(told()).toBe(machine);
  file('inner/memory.max', 'max');
  file('inner/memory.peak', String(60 << 20));
  expect(told()).toBe(machine);
  file('memory.max', String(1 << 30));
  expect(told()).toBe(machine);
  // The lowest limit on the way up is the one that is reached.
  file('memory.max', String(64 << 20));
  expect(told()).toBe('the kernel killed a process of it at the memory limit of 64MiB');
  // v1's file, and in its words, says nothing here.
  expect(shortageIn({ ...host, kind: 'v1' }, '/step/inner')).toBeUndefined();
});

test('v1 has the kills in memory.oom_control, and the lowest limit above in memory.stat', () => {
  const v1: CgroupHost = { ...host, kind: 'v1' };
  const file = (name: string, text: string) => writeFileSync(join(tree, 'step', name), text);
  file('memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 0\n');
  expect(shortageIn(v1, '/step')).toBeUndefined();
  file('memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n');
  file('memory.stat', `cache 0\nhierarchical_memory_limit ${32 << 20}\nhierarchical_memsw_limit 1\n`);
  file('memory.max_usage_in_bytes', `${32 << 20}\n`);
  expect(shortageIn(v1, '/step')).toEqual({ limit: 32 << 20 });
  file('memory.stat', 'hierarchical_memory_limit 9223372036854771712\n');
  expect(shortageIn(v1, '/step')).toEqual({ limit: undefined });
});

test('processors and memory nodes that the machine has not are refused', () => {
  const online = { cpus: '0-3,8\n', mems: '0\n' };
  checkProcessors({ cpusetCpus: '0,2-3, 8', cpusetMems: '0' }, online);
  checkProcessors({ cpusetCpus: '99' }, { cpus: '', mems: '' });
  expect(() => checkProcessors({ cpusetCpus: '1-5' }, online)).toThrow('this machine has no CPU 4, 5');
  expect(() => checkProcessors({ cpusetMems: '1' }, online)).toThrow('this machine has no memory node 1');
});

test('processes of a group and of those in it are found and killed', async () => {
  const children = [0, 1].map(() => spawn('sleep', ['100']));
  const ended = Promise.all(children.map((child) => once(child, 'exit')));
  const [first, second] = children.map(({ pid }) => pid as number);
  writeFileSync(join(tree, 'step/cgroup.procs'), `${first}\n`);
  writeFileSync(join(tree, 'step/inner/cgroup.procs'), `${second}\n`);
  killGroup(host.trees, '/step');
  expect((await ended).map(([, signal]) => signal)).toEqual(['SIGKILL', 'SIGKILL']);
});

test('a group goes with those in it, deepest first, and one that is gone is fine', () => {
  expect(removeGroup(host.trees, '/step')).toBe(true);
  expect(removeGroup(host.trees, '/step')).toBe(true);
});

test('limits are the same resources of the runtime’s, which writes pids.max and memory.max', () => {
  const asked = { memory: 64 << 20, memorySwap: 64 << 20 } as never;
  expect(limitsFor(asked, host.controllers, 40)).toEqual({
    resources: { pids: { limit: 40 }, memory: { limit: 64 << 20, swap: 64 << 20 } },
    missing: [],
  });
});

describe('a real v2 tree, as a container has one', () => {
  const top =
    /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 /m.exec(readFileSync('/proc/self/mountinfo', 'utf8'))?.[1] ?? '';
  const passedHere = readFileSync(join(top, 'cgroup.subtree_control'), 'utf8').split(/\s+/).filter(Boolean);
  const root = join(top, `drydock-test-${process.pid}`);
  let inside: ChildProcess;
  beforeEach(() => {
    mkdirSync(root);
    inside = spawn('sleep', ['600']);
    writeFileSync(join(root, 'cgroup.procs'), String(inside.pid));
  });
  afterEach(async () => {
    const ended = once(inside, 'exit');
    inside.kill('SIGKILL');
    await ended;
    for (let wait = 0; wait < 50 && !removeGroup([root], '/'); wait++) await sleep(20);
  });

  test('passes controllers on once nothing runs in its root, for which BuildKit has a variable', () => {
    // Threaded controllers may be passed on beside processes; others may not.
    const before = passOnControllers(root, {});
    const threaded = ['cpu', 'cpuset', 'perf_event', 'pids'];
    expect([...before].filter((name) => !threaded.includes(name))).toEqual([]);
    const after = passOnControllers(root, { BUILDKIT_SETUP_CGROUPV2_ROOT: '1' });
    expect([...after].sort()).toEqual([...passedHere].sort());
    expect(readFileSync(join(root, 'init/cgroup.procs'), 'utf8').trim()).toBe(String(inside.pid));
    expect(readFileSync(join(root, 'cgroup.procs'), 'utf8')).toBe('');
  });
});
