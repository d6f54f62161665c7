/** A step that takes all it can get, processes or memory, ends itself and nobody else. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ownBoundingSet } from '../../src/executor/capabilities.ts';
import { detectCgroups, removeGroup } from '../../src/executor/cgroups.ts';
import { createExecutor } from '../../src/executor/executor.ts';
import { limitsFor, oomScoreFor, pidsFor } from '../../src/executor/limits.ts';
import { Harness } from '../executor/harness.ts';

let h: Harness;
const cgroups = detectCgroups();
const CAP_SYS_RESOURCE = 1n << 24n;
const ownScore = Number(readFileSync('/proc/self/oom_score_adj', 'utf8'));

beforeAll(() => {
  h = new Harness();
});
afterAll(() => h.close());

describe('processes', () => {
  test('are limited for every step, to no more than a quarter of the machine’s', () => {
    expect(limitsFor(undefined, new Set(['pids']), 8192).resources).toEqual({ pids: { limit: 8192 } });
    expect(limitsFor(undefined, new Set(['pids']), 0).resources).toEqual({});
    // A machine without the controller has no such limit: docs/security.md.
    expect(limitsFor(undefined, new Set(), 8192)).toEqual({ resources: {}, missing: [] });
    expect(pidsFor([32_768, 100_000])).toBe(8192);
    expect(pidsFor([4_194_304, 2000])).toBe(500);
  });

  test.runIf(cgroups.controllers.has('pids'))('of a fork bomb cannot be made, and others go on', async () => {
    const executor = createExecutor({
      runDir: join(h.dir, 'few/run'),
      stateDir: join(h.dir, 'few/state'),
      pids: 40,
    });
    try {
      const { spec } = h.spec('bomb() { bomb | bomb & }; bomb; sleep 1; echo over');
      const err: string[] = [];
      const io = { stdout: () => {}, stderr: (chunk: Buffer) => void err.push(chunk.toString()) };
      const bomb = executor.run(spec, io, new AbortController().signal);
      expect((await h.run('echo here')).out).toBe('here\n');
      await bomb;
      expect(err.join('')).toMatch(/can't fork|cannot fork|Resource temporarily unavailable/);
    } finally {
      executor.close();
    }
  });
});

describe('memory', () => {
  test('is taken from steps first: their oom_score_adj is above this process’s', async () => {
    expect((await h.run('cat /proc/self/oom_score_adj')).out.trim()).toBe(String(oomScoreFor(ownScore)));
    // A step cannot get out of it, unless this process may not set it for good.
    const refused = (await h.run('echo 0 >/proc/self/oom_score_adj || echo refused')).out;
    expect(refused).toBe((ownBoundingSet() & CAP_SYS_RESOURCE) === 0n ? '' : 'refused\n');
    expect(oomScoreFor(999)).toBe(1000);
  });

  test.runIf(cgroups.controllers.has('memory'))(
    'that runs out beside a step ends the step, not its bystander',
    async () => {
      const parent = `drydock-hog-${process.pid}`;
      const tree = cgroups.trees.find((each) => cgroups.kind === 'v2' || each.endsWith('/memory')) as string;
      const group = join(tree, parent);
      const limit = cgroups.kind === 'v2' ? 'memory.max' : 'memory.limit_in_bytes';
      mkdirSync(join(group, 'bystander'), { recursive: true });
      let bystander: ChildProcess | undefined;
      try {
        if (cgroups.kind === 'v2') writeFileSync(join(group, 'cgroup.subtree_control'), '+memory');
        writeFileSync(join(group, limit), String(256 << 20));
        // Bigger than the step is when memory runs out.
        const script =
          'const b = Buffer.alloc(96 << 20, 1); process.stdout.write("up"); setInterval(() => b, 1000)';
        bystander = spawn(process.execPath, ['--max-old-space-size=64', '-e', script], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        writeFileSync(join(group, 'bystander/cgroup.procs'), String(bystander.pid));
        await new Promise((resolve) => bystander?.stdout?.once('data', resolve));
        const { exitCode } = await h.run('head -c 400000000 /dev/zero | tail; exit $?', {
          cgroupParent: parent,
        });
        expect(exitCode).toBe(137);
        expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
      } finally {
        const ended = new Promise((resolve) => bystander?.once('exit', resolve));
        if (bystander?.kill('SIGKILL')) await ended;
        rmdirSync(join(group, 'bystander'));
        removeGroup(cgroups.trees, `/${parent}`);
      }
    },
  );
});
