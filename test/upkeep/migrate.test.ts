/** `drydock store migrate`: images and cache of one store, in the other. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findImage } from '../../src/distribution/stored.ts';
import { type Engine, openEngine } from '../../src/engine/engine.ts';
import { merge, mkfile, scratch } from '../../src/llb/llb.ts';
import type { VertexEvent } from '../../src/progress/events.ts';
import { buildState } from '../../src/sdk/build.ts';
import { migrateStore } from '../../src/upkeep/migrate/migrate.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';
import { Cli } from '../kit/cli.ts';
import { startContainerd, type TestContainerd } from '../kit/containerd.ts';
import { pushBase } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

let containerd: TestContainerd;
let registry: TestRegistry;
let pulled: string;

beforeAll(async () => {
  containerd = await startContainerd({ gc: 'usual' });
  registry = await startRegistry();
  pulled = await pushBase(registry.host);
});
afterAll(async () => {
  await containerd.stop();
  await registry.stop();
  await closePool();
});

describe.each([
  ['local', 'containerd'],
  ['containerd', 'local'],
] as const)('from %s to %s', (from, to) => {
  const builds = new Builds();
  let source: Engine;
  let target: Engine;
  const namespace = `from-${from}`;
  const options = (imageStore: 'local' | 'containerd') => ({
    root: join(builds.dir, 'root'),
    imageStore,
    containerdAddress: containerd.address,
    containerdNamespace: namespace,
  });

  beforeAll(async () => {
    source = await openEngine(options(from));
    await builds.use(source);
    target = await openEngine(options(to));
  });
  afterAll(async () => {
    await (builds.engine === source ? target : source).close();
    await builds.close();
  });

  const text = () => `
    FROM ${pulled} AS one
    RUN mkdir /out && echo one > /out/one && chmod 4755 /out/one
    COPY f /out/f
    FROM base
    COPY --from=one /out /out
    RUN ln -s out /link && rm /etc/passwd && echo done > /end`;
  const cached = () =>
    [...builds.steps.values()].filter(({ name, cached }) => /RUN|COPY/.test(name) && cached).length;

  test('a missing image is said to be in the other store', async () => {
    await builds.build(text(), { f: 'f' }, { tags: ['app:1', `${registry.host}/local-only:1`] });
    // Nor does any registry have it.
    builds.engine = target;
    const building = builds.build(`FROM ${registry.host}/local-only:1`, {}, { tags: ['never:1'] });
    await expect(building).rejects.toMatchObject({
      hint: expect.stringContaining(`It is in the ${from} store`),
    });
    builds.engine = source;
    const missing = findImage(target.store, 'app:1');
    if (to === 'containerd') {
      await expect(missing).rejects.toMatchObject({
        code: 'not-found',
        message: 'No such image: app:1',
        hint: expect.stringMatching(/in the local store.*migrate --from local --to containerd/),
      });
    } else {
      // The root remembers which containerd it was used with.
      await expect(missing).rejects.toMatchObject({
        hint: expect.stringContaining(
          `--image-store=containerd --containerd-address=${containerd.address} --containerd-namespace=${namespace}`,
        ),
      });
    }
  });

  test('images and cache come along: the next build there runs nothing', async () => {
    const { image } = await findImage(source.store, 'app:1');
    // Trees that nobody has stacked yet come along in their parts.
    const file = (name: string) => scratch().file(mkfile(name, name, { timestampNs: 0n }));
    const merged = merge([file('/one'), file('/two')]);
    const outputs = [{ type: 'cacheonly' as const, attrs: {} }];
    await buildState(merged, { engine: source, outputs });
    const steps: string[] = [];
    const report = await migrateStore(source, target, { onProgress: ({ what }) => void steps.push(what) });
    expect(report.problems).toEqual([]);
    expect(report.images.moved.sort()).toEqual([`${registry.host}/local-only:1`, 'app:1', 'base:latest']);
    expect(report.records).toMatchObject({ there: 0 });
    expect(report.records.moved).toBeGreaterThan(5);
    expect(report.bytes).toBeGreaterThan(1e6);
    expect(steps).toContain('image app:1');

    builds.engine = target;
    expect((await findImage(target.store, 'app:1')).image.id).toBe(image.id);
    const again = await builds.build(text(), { f: 'f' }, { tags: ['app:1'] });
    expect(cached()).toBe(4);
    expect((await findImage(target.store, 'app:1')).image.id).toBe(image.id);
    expect(again.stat('/out/one')).toBe('file 4755 0:0');
    expect(again.stat('/etc/passwd')).toBeUndefined();
    const merges = new Map<string, VertexEvent>();
    const vertex = (event: VertexEvent) => void merges.set(event.name, event);
    await buildState(merged, { engine: target, outputs, progress: { vertex } });
    expect([...merges.values()].map((step) => step.cached)).toEqual([true, true, true]);
    // And what is new is built on what came along.
    const on = await builds.build('FROM app:1\nRUN cat /end > /copy', {}, { tags: ['on:1'] });
    expect(on.read('/copy')).toBe('done\n');
    expect((await target.store.verify()).problems).toEqual([]);
    for (const { store } of [source, target]) {
      expect((await store.leases.list()).filter(({ pinned }) => !pinned)).toEqual([]);
    }
    if (to === 'containerd') {
      expect(containerd.ctr(namespace, 'images', 'check')).not.toContain('incomplete');
      const out = containerd.ctr(
        namespace,
        'run',
        '--rm',
        'docker.io/library/app:1',
        'moved',
        'cat',
        '/out/f',
      );
      expect(out).toBe('f');
    }
  });

  test('a second time copies nothing, and an image that has another one’s name there is left alone', async () => {
    builds.engine = source;
    await builds.build('RUN echo other > /other', {}, { tags: ['on:1'] });
    const target1 = (await target.store.images.get('docker.io/library/on:1'))?.target;
    const report = await migrateStore(source, target);
    expect(report.images).toEqual({ moved: [], there: 3, taken: ['on:1'] });
    expect(report.records.there).toBeGreaterThan(5);
    expect((await target.store.images.get('docker.io/library/on:1'))?.target).toEqual(target1);
    expect(await migrateStore(source, target)).toMatchObject({ bytes: 0, records: { moved: 0 } });
  });
});

test('drydock store migrate', async () => {
  const cli = new Cli();
  try {
    await cli.makeBase();
    const place = ['--containerd-address', containerd.address, '--containerd-namespace', 'command'];
    const first = await cli.ok(['store', 'migrate', '--from', 'local', '--to', 'containerd', ...place]);
    expect(first.stdout).toMatch(/^Images: 1 copied, 0 were there\nCache records: [1-9]\d* copied/);
    expect(first.stderr).toMatch(/^1\/\d+ image base:latest$/m);
    expect(containerd.ctr('command', 'images', 'ls', '-q')).toBe('docker.io/library/base:latest\n');
    // Where containerd is, the root knows from then on.
    await cli.ok(['rmi', 'base']);
    const missing = await cli.run(['inspect', 'base']);
    expect(missing.stderr).toMatch(/It is in the containerd store: use --image-store=containerd/);
    const back = await cli.ok(['store', 'migrate', '--from=containerd', '--to=local', 'base']);
    expect(back.stdout).toMatch(/^Images: 1 copied/);
    await cli.ok(['inspect', 'base']);

    for (const [args, message] of [
      [['migrate', '--from', 'local', '--to', 'local'], /both the local store/],
      [['migrate', '--from', 'local'], /both --from and --to/],
      [['migrate', '--from', 'loca', '--to', 'containerd'], /--image-store=local\?/],
      [['migrate', '--from', 'local', '--to', 'containerd', 'nope'], /No such image: nope[\s\S]*base:latest/],
    ] as const) {
      const { code, stderr } = await cli.run(['store', ...args]);
      expect([code, stderr]).toEqual([1, expect.stringMatching(message)]);
    }
  } finally {
    cli.close();
  }
});
