/** containerd goes away in the middle of a build, for a moment or for good; or we do. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { engineOn } from '../../src/engine/engine.ts';
import { openContainerdStore } from '../../src/store/containerd/open.ts';
import { Builds } from '../kit/builds.ts';
import { Cli, outputOf } from '../kit/cli.ts';
import { startContainerd, type TestContainerd } from '../kit/containerd.ts';

let containerd: TestContainerd;

beforeEach(async () => {
  containerd = await startContainerd({ gc: 'usual' });
});
afterEach(() => containerd.stop());

const slow = `
  FROM base AS a
  RUN echo started && sleep 1 && echo a > /a
  FROM base AS b
  COPY f /f
  RUN sleep 1 && cat /f > /b
  FROM base
  COPY --from=a /a /
  COPY --from=b /b /`;

async function buildsWith(patience?: number, snapshotter?: string): Promise<Builds> {
  const builds = new Builds();
  const store = await openContainerdStore({
    root: join(builds.dir, 'root'),
    address: containerd.address,
    patience,
    snapshotter,
  });
  await builds.use(engineOn(store));
  return builds;
}

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; !what() && i < 500; i++) await sleep(20);
}

/** All that is in containerd is whole, and no lease but the cache's is there. */
async function expectSound({ engine: { store } }: Builds): Promise<void> {
  expect((await store.verify()).problems).toEqual([]);
  expect((await store.leases.list()).filter(({ pinned }) => !pinned)).toEqual([]);
  // What could not be removed while containerd was away goes with the lease that held it, some seconds later.
  const actives = async () => (await store.snapshots.list()).filter(({ kind }) => kind === 'active');
  await expect.poll(actives, { interval: 200 }).toEqual([]);
  expect(containerd.ctr('moby', 'images', 'check')).not.toContain('incomplete');
}

test('a containerd that restarts is waited for', async () => {
  const builds = await buildsWith();
  try {
    const building = builds.build(slow, { f: 'f' }, { tags: ['app:1'] });
    await until(() => builds.logs.includes('started'));
    await containerd.kill();
    await sleep(1500);
    await containerd.start();
    expect((await building).read('/b')).toBe('f');
    await expectSound(builds);
    expect(containerd.ctr('moby', 'run', '--rm', 'docker.io/library/app:1', 'one', 'cat', '/a')).toBe('a\n');
  } finally {
    await builds.close();
  }
});

test.each(['overlayfs', 'native'])(
  'what a containerd leaves that was killed while it made a snapshot is in nobody’s way: %s',
  async (snapshotter) => {
    // The number of the first snapshot is given out again, as its transaction did not end.
    const folders = join(containerd.root, `io.containerd.snapshotter.v1.${snapshotter}`, 'snapshots');
    mkdirSync(join(folders, '1', 'fs'), { recursive: true });
    mkdirSync(join(folders, '2', 'fs', 'half'), { recursive: true });
    const builds = await buildsWith(undefined, snapshotter);
    try {
      expect((await builds.build(slow, { f: 'f' }, { tags: ['app:1'] })).read('/b')).toBe('f');
      await expectSound(builds);
      expect(existsSync(join(folders, '2', 'fs', 'half'))).toBe(false);
    } finally {
      await builds.close();
    }
  },
);

test('one that stays away fails the build and says so; when it is back, the same engine builds', async () => {
  const builds = await buildsWith(300);
  try {
    const building = builds.build(slow, { f: 'f' }, { tags: ['app:1'] });
    await until(() => builds.logs.includes('started'));
    await containerd.kill();
    await expect(building).rejects.toMatchObject({
      code: 'unavailable',
      hop: 'store',
      message: expect.stringContaining(`containerd at ${containerd.address}`),
      hint: expect.stringContaining('systemctl'),
    });
    await containerd.start();
    expect((await builds.build(slow, { f: 'f' }, { tags: ['app:1'] })).read('/b')).toBe('f');
    await expectSound(builds);
  } finally {
    await builds.close();
  }
});

test('after kill -9 of a build, the next one sweeps what it held', async () => {
  const cli = new Cli();
  const env = {
    DRYDOCK_IMAGE_STORE: 'containerd',
    DRYDOCK_CONTAINERD_ADDRESS: containerd.address,
  };
  try {
    Object.assign(process.env, env);
    await cli.makeBase();
    const context = cli.files('context', { Dockerfile: slow.replaceAll(/^ +/gm, ''), f: 'f' });
    const args = ['build', '--progress=plain', '-t', 'app', context];
    const child = cli.start(args);
    let log = '';
    child.stderr?.on('data', (text) => {
      log += text;
    });
    const ended = outputOf(child);
    await until(() => /echo started|started$/m.test(log) && /sleep 1/.test(log));
    await sleep(300);
    child.kill('SIGKILL');
    expect((await ended).code).not.toBe(0);
    expect(containerd.ctr('moby', 'leases', 'ls')).toMatch(/drydock\/run/);

    await cli.ok(['build', '-q', '-t', 'app', context]);
    const { stdout } = await cli.ok(['doctor', '--verify']);
    expect(stdout).toMatch(/containerd at .*namespace moby/);
    expect(stdout).toMatch(/verified [1-9]\d* blobs and [1-9]\d* snapshots: all is well/);
    expect(containerd.ctr('moby', 'leases', 'ls')).not.toMatch(/drydock\/run/);
    expect(containerd.ctr('moby', 'snapshots', 'ls')).not.toMatch(/Active|View/);
    expect(containerd.ctr('moby', 'images', 'check')).toMatch(/app:latest .* complete/);
  } finally {
    for (const name of Object.keys(env)) delete process.env[name];
    cli.close();
  }
});

test('no containerd there: what is wrong, and what to do', async () => {
  const cli = new Cli();
  try {
    const { code, stderr } = await cli.run([
      '--image-store=containerd',
      '--containerd-address=/nowhere.sock',
      'images',
    ]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /opening the image store: containerd at \/nowhere\.sock cannot be reached \(ENOENT\)/,
    );
    expect(stderr).toMatch(/systemctl start containerd.*--containerd-address/s);
    const wrong = await cli.run(['images', '--image-store=containrd']);
    expect(wrong.stderr).toMatch(/unknown image store "containrd"[\s\S]*--image-store=containerd\?/);
    const doctor = await cli.run([
      'doctor',
      '--image-store',
      'containerd',
      '--containerd-address',
      '/nowhere.sock',
    ]);
    expect([doctor.code, doctor.stdout]).toEqual([
      1,
      expect.stringMatching(/LACK {2}store .*containerd store/),
    ]);
  } finally {
    cli.close();
  }
});
