import {
  appendFileSync,
  chmodSync,
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
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { ownBoundingSet } from '../../src/executor/capabilities.ts';
import { detectCgroups } from '../../src/executor/cgroups.ts';
import { confinementFor } from '../../src/executor/confinement.ts';
import { createExecutor } from '../../src/executor/executor.ts';
import { chooseRuntime, forTerminal } from '../../src/executor/runtime.ts';
import { tryRuntime } from '../../src/executor/try-runtime.ts';
import { Harness } from './harness.ts';

// The crun of these tests is a script that hands its work to runc, after it has noted that it was called.
let h: Harness;
let dir: string;
const cgroups = detectCgroups();

beforeAll(() => {
  h = new Harness();
});
afterAll(() => h.close());

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-runtime-'));
  mkdirSync(join(dir, 'bin'));
  return () => rmSync(dir, { recursive: true, force: true });
});

function crun(script: string): void {
  const file = join(dir, 'bin/crun');
  writeFileSync(file, `#!/bin/sh\necho >> ${dir}/calls\n${script}\n`);
  chmodSync(file, 0o755);
}

function calls(): number {
  return existsSync(join(dir, 'calls')) ? readFileSync(join(dir, 'calls'), 'utf8').length : 0;
}

/** Chooses as an executor does that has only this crun and the system's runc. */
function choose(named?: string) {
  const host = {
    cgroups,
    bounding: ownBoundingSet(),
    confine: confinementFor({}),
    runDir: dir,
    group: (id: string) => `/drydock/test-${process.pid}-${id}`,
  };
  return chooseRuntime({
    named,
    stateDir: join(dir, 'state'),
    cgroups,
    attempt: (runtime) => tryRuntime(runtime, host),
    path: join(dir, 'bin'),
  });
}

test('crun is used where a container runs with it; that is found out once', async () => {
  expect(await choose()).toEqual({ command: 'runc', hidden: [] });
  crun('exec runc "$@"');
  expect(await choose()).toMatchObject({ command: join(dir, 'bin/crun') });
  expect(calls()).toBe(1);
  expect(await choose()).toMatchObject({ command: join(dir, 'bin/crun') });
  expect(calls()).toBe(1);
  appendFileSync(join(dir, 'bin/crun'), '# a newer one\n');
  await choose();
  expect(calls()).toBe(2);
  // Nothing of the tries is left.
  expect(readdirSync(join(dir, 'exec'))).toEqual([]);
  const groups = cgroups.trees.map((tree) => join(tree, 'drydock')).filter((group) => existsSync(group));
  expect(
    groups.flatMap((group) => readdirSync(group)).filter((name) => name.startsWith(`test-${process.pid}`)),
  ).toEqual([]);
});

test.each([
  [
    'that does not know an option',
    `echo "unrecognized option '--keep'" >&2; exit 64`,
    "unrecognized option '--keep'",
  ],
  [
    'that says why in its log',
    `while [ "$1" != --log ]; do shift; done; printf '{"msg":"no","level":"error"}\\n' > "$2"; exit 1`,
    'no',
  ],
  [
    'that sets no limits',
    `for b; do :; done; d=$(echo "$*" | sed 's/.*--bundle \\([^ ]*\\).*/\\1/'); sed -i 's/"limit":61/"limit":62/' "$d/config.json"; exec runc "$@"`,
    'it does not apply limits',
  ],
])('runc is used in the place of a crun %s', async (_, script, why) => {
  crun(script);
  expect(await choose()).toEqual({ command: 'runc', hidden: [], why });
  expect(await choose()).toEqual({ command: 'runc', hidden: [], why });
  expect(calls()).toBe(1);
});

test('a runtime that is named is used untried, and a step says when it is not there', async () => {
  crun('exit 1');
  expect(await choose('/opt/other')).toEqual({ command: '/opt/other', hidden: [] });
  expect(calls()).toBe(0);
  const io = { stdout: () => {}, stderr: () => {} };
  const run = async (runtime: string) => {
    const executor = createExecutor({ runDir: join(dir, 'run'), stateDir: join(dir, 'state'), runtime });
    try {
      const end = await executor.run(h.spec('exit 3').spec, io, new AbortController().signal);
      await end.cleared;
      return end.exitCode;
    } finally {
      executor.close();
    }
  };
  await expect(run('no-such-runtime')).rejects.toMatchObject({
    code: 'unavailable',
    message: 'no-such-runtime cannot run steps: it is not there',
  });
  // One that is too old starts nothing, and one that is no runtime may even end well.
  crun('[ "$*" != --version ] || { echo crun version 1.8.1; exit 0; }; [ "$*" = "run --help" ] || exit 64');
  await expect(run(join(dir, 'bin/crun'))).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringMatching(/bin\/crun \(crun version 1\.8\.1\) is too old to run steps/),
    hint: expect.stringContaining('step-runtime'),
  });
  await expect(run('/bin/true')).rejects.toMatchObject({
    message: expect.stringContaining('no OCI runtime'),
  });
  crun('echo a library is missing >&2; exit 127');
  await expect(run(join(dir, 'bin/crun'))).rejects.toMatchObject({
    message: expect.stringMatching(/bin\/crun cannot run steps: a library is missing$/),
  });
  crun('exec runc "$@"');
  expect(await run(join(dir, 'bin/crun'))).toBe(3);
});

test('a terminal is runc’s where crun was not named: crun loses the output of quick processes there', () => {
  const crunThere = { command: '/usr/bin/crun', hidden: ['/sys/fs/cgroup/unified'] };
  const path = '/usr/local/sbin:/usr/sbin:/usr/bin';
  expect(forTerminal(crunThere, false, path)).toEqual({ command: 'runc', hidden: [] });
  expect(forTerminal(crunThere, true, path)).toBe(crunThere);
  // Without runc there is no choice.
  expect(forTerminal(crunThere, false, '/nowhere')).toBe(crunThere);
});
