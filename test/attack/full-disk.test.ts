/**
 * A disk that is full or read-only, a process that may open no more files, names that are too long: what can be done is
 * done, and what cannot says why and what to do, without a stack.
 */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toDrydockError } from '../../src/errors/error.ts';
import { Cli, type Output, outputOf } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { tarOf } from '../kit/images.ts';
import { mountDisk, type SmallDisk } from '../kit/small-disk.ts';
import { onContainerd, onStores } from '../kit/stores.ts';

/** A failure that is told as one: a sentence and a hint, and no line of a stack. */
function expectTold({ code, stderr }: Output, words: RegExp): void {
  expect(stderr).toMatch(words);
  expect(stderr).toMatch(/hint: \S/);
  expect(stderr).not.toMatch(/^\s+at .*:\d+:\d+/m);
  expect(code).toBe(1);
}

const context = (cli: Cli, name: string) =>
  cli.files(name, { Dockerfile: `FROM scratch\nCOPY . /${name}\n`, data: Buffer.alloc(1 << 20, name) });

onStores('a full disk', (store) => {
  let cli: Cli;
  let disk: SmallDisk;
  let env: Record<string, string>;
  let app: string;
  let more: string;
  beforeAll(async () => {
    cli = new Cli();
    disk = mountDisk(cli.root, 48);
    env = store.env();
    app = context(cli, 'app');
    more = context(cli, 'more');
    await cli.ok(['build', '-q', '-t', 'app', app], { env });
    disk.fill();
  });
  afterAll(() => {
    disk.remove();
    cli.close();
  });

  test('what is there can be looked at', async () => {
    expect(disk.free()).toBe(0);
    expect((await cli.ok(['images'], { env })).stdout).toContain('app');
    expect((await cli.ok(['du'], { env })).stdout).toContain('COPY . /app');
    expect(disk.free()).toBe(0);
  });

  test('doctor says that it is full, and verifies what is there', async () => {
    const { code, stdout } = await cli.run(['doctor', '--verify'], { env });
    expect(stdout).toMatch(/LACK {2}store .*free/);
    expect(stdout).toMatch(/verified \d+ blobs and \d+ snapshots: all is well/);
    expect(code).toBe(1);
  });

  test('a build says so, and leaves the reserve to those who make room', async () => {
    for (let i = 0; i < 2; i++) {
      const built = await cli.run(['build', '-t', 'more', more], { env });
      expectTold(built, /no space left .*has room for/);
      expect(built.stderr).toMatch(/drydock prune/);
    }
    expect(disk.free()).toBe(0);
  });

  test('an image is removed, the cache is pruned, and the next build has the room', async () => {
    expect((await cli.ok(['rmi', 'app'], { env })).stdout).toContain('Untagged: app:latest');
    disk.fill();
    expect(disk.free()).toBe(0);
    const { stdout } = await cli.ok(['prune', '-af'], { env });
    expect(stdout).toMatch(/Total reclaimed space: 1\.\d+MB/);
    expect((await cli.ok(['images'], { env })).stdout).not.toContain('app');
    disk.empty();
    await cli.ok(['build', '-q', '-t', 'more', more], { env });
  });
});

onStores('a daemon whose disk is full', (store) => {
  let disk: SmallDisk;
  let daemon: TestDaemon;
  let root: string;
  const build = (name: string, text = `FROM scratch\nCOPY data /${name}\n`) =>
    daemon.ask('POST', `/build?t=${name}`, {
      body: tarOf({ Dockerfile: text, data: Buffer.alloc(1 << 20, name) }),
      headers: { 'content-type': 'application/x-tar' },
    });
  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'drydock-full-'));
    disk = mountDisk(root, 48);
    daemon = await startTestDaemon({ ...store.options(), root });
    expect((await build('app')).text).toContain('Successfully tagged app:latest');
    disk.fill();
  });
  afterAll(async () => {
    await daemon.stop();
    disk.remove();
    rmSync(root, { recursive: true });
  });

  test('answers, fails builds with the reason, and makes room', async () => {
    expect((await daemon.ask('GET', '/images/json')).json()).toHaveLength(1);
    expect((await build('more')).text).toMatch(/no space left .*has room for .*hint: .*drydock prune/s);
    expect(await daemon.ask('DELETE', '/images/app')).toMatchObject({ status: 200 });
    disk.fill();
    expect(disk.free()).toBe(0);
    const pruned = await daemon.ask('POST', '/build/prune?all=1');
    expect(pruned).toMatchObject({ status: 200 });
    expect(pruned.json<{ SpaceReclaimed: number }>().SpaceReclaimed).toBeGreaterThanOrEqual(1 << 20);
    disk.empty();
    expect((await build('small', 'FROM scratch\nLABEL a=b\n')).text).toContain('Successfully tagged');
  });

  test('starts', async () => {
    await daemon.halt();
    disk.fill();
    expect(disk.free()).toBe(0);
    await daemon.start();
    expect((await daemon.ask('GET', '/images/json')).json()).toHaveLength(1);
    expect(await daemon.ask('DELETE', '/images/small')).toMatchObject({ status: 200 });
  });
});

describe('containerd, whose own disk is full', () => {
  let disk: SmallDisk | undefined;
  onContainerd(
    'and not ours',
    (store) => {
      let cli: Cli;
      let env: Record<string, string>;
      beforeAll(() => {
        cli = new Cli();
        env = store.env();
      });
      afterAll(() => {
        cli.close();
        disk?.remove();
      });

      test('a build says so; rmi and prune make room, and the next build has it', async () => {
        const full = disk as SmallDisk;
        const more = context(cli, 'more');
        await cli.ok(['build', '-q', '-t', 'app', context(cli, 'app')], { env });
        full.fill();
        expectTold(await cli.run(['build', '-t', 'more', more], { env }), /no space left/);
        expect((await cli.ok(['rmi', 'app'], { env })).stdout).toContain('Untagged: app:latest');
        await cli.ok(['prune', '-af'], { env });
        // The layer and its blob are off the disk, and nothing of the build that failed is on it.
        expect(full.free()).toBeGreaterThan(2 << 20);
        const small = cli.files('small', {
          Dockerfile: 'FROM scratch\nCOPY data /\n',
          data: 'x'.repeat(300_000),
        });
        await cli.ok(['build', '-q', '-t', 'small', small], { env });
      });
    },
    {
      prepare(root) {
        disk = mountDisk(root, 48);
      },
    },
  );
});

describe('on store/local', () => {
  let cli: Cli;
  let app: string;
  beforeAll(async () => {
    cli = new Cli();
    app = context(cli, 'app');
  });
  afterAll(() => cli.close());

  test('a disk that is mounted read-only is named, by every command', async () => {
    const disk = mountDisk(cli.root, 32);
    try {
      await cli.ok(['build', '-q', '-t', 'app', app]);
      disk.remount('ro');
      for (const args of [['images'], ['build', app], ['prune', '-f']]) {
        expectTold(await cli.run(args), /mounted read-only/);
      }
      disk.remount('rw');
      await cli.ok(['rmi', 'app']);
    } finally {
      disk.remove();
    }
  });

  test('a process that may open few files says so, wherever it runs out of them', async () => {
    await cli.ok(['build', '-q', '-t', 'app', app]);
    // Files that it is born with, so that each number of those left is met.
    const born = openSync('/dev/null', 'r');
    const bin = join(import.meta.dirname, '../../bin/drydock');
    const limited = (limit: number, taken: number, args: string[]) =>
      outputOf(
        spawn('sh', ['-c', `ulimit -n ${limit}; exec "$0" "$@"`, bin, ...args], {
          env: cli.environment(),
          stdio: ['ignore', 'pipe', 'pipe', ...Array<number>(taken).fill(born)],
        }),
      );
    try {
      expectTold(await limited(40, 0, ['images']), /needs 64 or more/);
      let told = 0;
      for (const taken of [28, 34, 40]) {
        const built = await limited(64, taken, ['build', '--no-cache', app]);
        if (built.code === 0) continue;
        expectTold(built, /too many open files/);
        told++;
      }
      expect(told).toBeGreaterThan(0);
    } finally {
      closeSync(born);
    }
    // What could not be put away then is now, and nothing is left behind.
    expect((await cli.ok(['images'])).stdout).toContain('app');
    expect(readdirSync(join(cli.root, 'run'))).toEqual([]);
  });
});

describe('a name that is too long, in what a client asks for', () => {
  let daemon: TestDaemon;
  const long = 'x'.repeat(300);
  beforeAll(async () => {
    daemon = await startTestDaemon();
  });
  afterAll(() => daemon.stop());

  test.each([
    ['WORKDIR', `WORKDIR /${long}`],
    ['COPY', `COPY data /${long}`],
    ['COPY of a path', `COPY data ${'/0123456789'.repeat(400)}`],
    ['ADD of an archive', 'ADD long.tar /'],
    ['COPY from it', `COPY ${long} /`],
    ['a mount’s target', `RUN --mount=type=cache,target=/${long} true`],
    ['a mount’s source', `RUN --mount=type=bind,source=${long},target=/x true`],
    ['a user', `USER ${long}\nRUN true`],
  ])('%s: an error in the client’s own terms', async (_, step) => {
    const { text, status } = await daemon.ask('POST', '/build?version=2', {
      body: tarOf({
        Dockerfile: `FROM scratch\nCOPY data /data\n${step}\n`,
        data: 'x',
        'long.tar': execFileSync('tar', ['-cf', '-', '--transform', `s,.*,${long},`, 'hostname'], {
          cwd: '/etc',
        }),
      }),
      headers: { 'content-type': 'application/x-tar' },
    });
    expect([200, 400, 404]).toContain(status);
    expect(text).toMatch(/errorDetail|message/);
    expect(text).not.toContain(daemon.dir);
    expect(text).not.toContain('snapshots/');
    const internal = daemon.log().filter(({ message }) => message === 'request failed');
    expect(internal).toEqual([]);
  });

  test.each([
    ['POST', `/build?target=${long}`],
    ['POST', `/build?remote=http://127.0.0.1:1/${long}`],
    ['POST', `/images/create?fromImage=127.0.0.1:1/${long}`],
    ['POST', `/images/create?fromSrc=${long}`],
    ['GET', `/images/${long}/json`],
    ['GET', `/images/get?names=${long}`],
    ['DELETE', `/images/${long}`],
    ['POST', `/images/${long}/tag?repo=${long}`],
    ['POST', `/build/cancel?id=${long}`],
  ])('%s %s is no fault of the daemon', async (method, path) => {
    const { status, text } = await daemon.ask(method, path, {
      body: method === 'POST' ? tarOf({ Dockerfile: 'FROM scratch\n' }) : undefined,
      headers: { 'content-type': 'application/x-tar' },
    });
    expect(text).not.toContain(daemon.dir);
    if (status === 200) expect(text).toMatch(/errorDetail/);
    else expect(status === 500 && !text.includes('registry') ? text : '').toBe('');
  });
});

test.each([
  ['ENOSPC', 'exhausted'],
  ['EDQUOT', 'exhausted'],
  ['EROFS', 'unavailable'],
  ['EMFILE', 'exhausted'],
  ['ENFILE', 'exhausted'],
  ['ENAMETOOLONG', 'invalid'],
])('%s of the system is `%s`, with a hint', (code, kind) => {
  const error = toDrydockError(Object.assign(new Error(`${code}: words, open '/secret/place'`), { code }));
  expect(error).toMatchObject({ code: kind, hint: expect.stringMatching(/\.$/) });
  if (kind === 'invalid') expect(JSON.stringify([error.message, error.cause])).not.toContain('/secret');
});
