import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { detectCgroups } from '../../src/executor/cgroups.ts';
import { createExecutor } from '../../src/executor/executor.ts';
import { searchPath } from '../../src/executor/runtime.ts';
import { Harness } from './harness.ts';

let h: Harness;
beforeAll(() => {
  h = new Harness();
});
afterAll(() => h.close());

/** How long the step's processes sleep: no other run of this test on the machine has the same. */
const nap = 1_000_000 + process.pid;

const victim = join(import.meta.dirname, 'victim.ts');

/** Groups on this machine that belong to owners in a state folder. */
function groupsOf(stateDir: string): string[] {
  const owners = readdirSync(stateDir).map((name) => name.replace('.owner', ''));
  return detectCgroups().trees.flatMap((tree) => {
    const parent = join(tree, 'drydock');
    const names = existsSync(parent) ? readdirSync(parent) : [];
    return names.filter((name) => owners.some((o) => name.startsWith(o))).map((name) => join(parent, name));
  });
}

/** The runtimes that are here; a crun that keeps no containers is none for steps. */
const runtimes = ['runc', 'crun'].filter((name) => {
  const { stdout } = spawnSync(name, ['run', '--help'], { encoding: 'utf8', env: { PATH: searchPath } });
  return stdout?.includes('--keep');
});

test.each(runtimes)(
  'kill -9 of the builder takes the container along, its mounts, and at the next start its cgroups: %s',
  async (runtime) => {
    const dir = mkdtempSync(join(tmpdir(), 'drydock-kill-'));
    let builder: ChildProcess | undefined;
    try {
      const { spec } = h.spec(`trap "" TERM INT HUP; sleep ${nap} & echo up; sleep ${nap}`);
      writeFileSync(join(dir, 'spec.json'), JSON.stringify(spec));
      const child = spawn(process.execPath, [victim, dir, runtime], { stdio: ['ignore', 'pipe', 'inherit'] });
      builder = child;
      await once(child.stdout, 'data');
      // The shell says so before either has become a `sleep`.
      await until(() => sleepers() === 2);
      // The next step's process waits meanwhile.
      await until(() => waitingOf(child.pid).length === 1);
      const waiting = waitingOf(child.pid);
      const state = join(dir, 'state');
      expect(groupsOf(state).length).toBeGreaterThan(0);
      child.kill('SIGKILL');
      await once(child, 'exit');
      await until(() => sleepers() === 0);
      await until(() => !waiting.some((pid) => existsSync(`/proc/${pid}`)));
      expect(h.mounts(dir)).toEqual([]);

      const left = groupsOf(state);
      await sleep(60);
      mkdirSync(join(dir, 'run2'));
      const next = createExecutor({ runDir: join(dir, 'run2'), stateDir: state, runtime });
      const quiet = { stdout: () => {}, stderr: () => {} };
      const { exitCode } = await next.run(h.spec('true').spec, quiet, new AbortController().signal);
      expect(exitCode).toBe(0);
      expect(left.filter((group) => existsSync(group))).toEqual([]);
    } finally {
      builder?.kill('SIGKILL');
      rmSync(dir, { recursive: true, force: true });
    }
  },
);

function sleepers(): number {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1') === `sleep\0${nap}\0`;
    } catch {
      return false;
    }
  }).length;
}

/** The processes of an executor that wait for their steps. */
function waitingOf(executor: number | undefined): string[] {
  return childrenOf(executor).filter((pid) => childrenOf(pid).some((below) => isWaiting(below)));
}

function childrenOf(pid: number | string | undefined): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
}

function isWaiting(pid: string): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('sh\0-c\0IFS= read');
}

test('the next step is started by a process that waited, and the steps go on when that was killed', async () => {
  const over = h.executor.expect('none');
  const first = h.run('sleep 0.4');
  // The first step's own process waits for its step too, for a moment.
  await until(() => {
    const children = childrenOf(process.pid);
    return children.length === 2 && waitingOf(process.pid).join() === children[1];
  });
  const [waiting = ''] = waitingOf(process.pid);
  expect(await h.run('echo next')).toMatchObject({ exitCode: 0, out: 'next\n' });
  expect(existsSync(`/proc/${waiting}`)).toBe(false);
  await until(() => waitingOf(process.pid).length === 1);
  const [other = ''] = waitingOf(process.pid);
  process.kill(Number(childrenOf(other)[0]), 'SIGKILL');
  // It ends when it hears of its child's end, which is a moment later.
  await until(() => !existsSync(`/proc/${other}`));
  expect(await h.run("echo 'it''s'; exit 3")).toMatchObject({ exitCode: 3, out: 'its\n' });
  expect((await first).exitCode).toBe(0);
  over();
  // When no step has come for a while, nothing waits any more.
  await until(() => waitingOf(process.pid).length === 0);
});

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (holds()) return;
    await sleep(25);
  }
  throw new Error(`it did not happen within 5 s: ${sleepers()} sleep`);
}
