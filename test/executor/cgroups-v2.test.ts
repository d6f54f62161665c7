/** What is read and written of cgroup v2, on a tree made of plain files: machines with v1 have none. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  type CgroupHost,
  detectCgroups,
  killGroup,
  outOfMemory,
  removeGroup,
} from '../../src/executor/cgroups.ts';
import { limitsFor } from '../../src/executor/limits.ts';

let tree: string;
let host: CgroupHost;

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), 'drydock-cgroup-'));
  host = { kind: 'v2', trees: [tree], controllers: new Set(['cpuset', 'cpu', 'memory', 'pids']) };
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
      join(tree, 'step/memory.events'),
      `low 0\nhigh 0\nmax 12\noom 3\noom_kill ${kills}\noom_group_kill 0\n`,
    );
  expect(outOfMemory(host, '/step')).toBe(false);
  events(0);
  expect(outOfMemory(host, '/step')).toBe(false);
  events(10);
  expect(outOfMemory(host, '/step')).toBe(true);
  // v1's file, and in its words, says nothing here.
  expect(outOfMemory({ ...host, kind: 'v1' }, '/step')).toBe(false);
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
