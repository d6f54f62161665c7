/** A build in a containerd that others use too: what they see, what they bring, and what they may not take away. */
import { execFile, execFileSync } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { saveImages } from '../../src/images/save.ts';
import { prune } from '../../src/upkeep/disk-usage.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';
import { startContainerd, type TestContainerd } from '../kit/containerd.ts';
import { baseImage, imageOf, tarOf, writeLayout } from '../kit/images.ts';

const exec = promisify(execFile);

let containerd: TestContainerd;
let builds: Builds;
const namespace = 'moby';
const ctr = (...args: string[]) => containerd.ctr(namespace, ...args);

beforeAll(async () => {
  // As eager as containerd collects: after every deletion.
  containerd = await startContainerd({ gc: 'eager' });
  builds = new Builds();
  await builds.open({ imageStore: 'containerd', containerdAddress: containerd.address });
});
afterAll(async () => {
  await builds.close();
  await containerd.stop();
  await closePool();
});

/** The layers of the busybox image, as plain tars. */
const baseTars = () => {
  const { blobs, layers } = baseImage();
  return layers.map(({ digest }) => gunzipSync(blobs.get(digest)!));
};

const app = 'docker.io/library/app:1';

test('what is built is a whole image for others, unpacked, and runs', async () => {
  await builds.build('COPY f /f\nRUN echo built > /g', { f: 'copied' }, { tags: ['app:1'] });
  expect(ctr('images', 'ls')).toMatch(/docker\.io\/library\/app:1 .*linux\/amd64/);
  expect(ctr('images', 'check')).toMatch(/app:1 .*complete \(\d\/\d\).* true\s/);
  const out = ctr('run', '--rm', app, 'one', 'sh', '-c', 'cat /f /g');
  expect(out).toBe('copiedbuilt\n');
});

test.each([
  ['lazy', '--no-unpack'],
  ['unpacked', '--snapshotter=overlayfs'],
])('what others import (%s: ctr images import %s) can be built on, without any registry', async (id, how) => {
  const name = `docker.io/library/imported-${id}`;
  const image = imageOf([...baseTars(), tarOf({ seed: how })]);
  const layout = join(builds.dir, `layout-${id}`);
  writeLayout(layout, image, '1');
  execFileSync('tar', ['cf', `${layout}.tar`, '-C', layout, '.']);
  ctr('images', 'import', '--base-name', name, how, `${layout}.tar`);

  const built = await builds.build(`FROM ${name}:1\nRUN cat /seed > /copy`, {}, { tags: ['on:1'] });
  expect(built.read('/copy')).toBe(how);
  const target = (await builds.engine.store.images.get('docker.io/library/on:1'))!.target;
  const manifest = JSON.parse((await builds.engine.store.content.bytes(target.digest)).toString());
  expect(manifest.layers.slice(0, -1).map((layer: { digest: string }) => layer.digest)).toEqual(
    image.layers.map(({ digest }) => digest),
  );
  // The container stays a moment longer than its output: ctr may lose the words of one that ends at once.
  const said = ctr('run', '--rm', 'docker.io/library/on:1', id, 'sh', '-c', 'cat /copy; sleep 0.3');
  expect(said).toBe(how);
});

test('removing an image by ctr takes nothing from the cache, and nothing of the cache stays after a prune', async () => {
  const text = 'RUN echo kept > /kept';
  await builds.build(text, {}, { tags: ['gone:1'] });
  ctr('images', 'rm', '--sync', 'docker.io/library/gone:1');
  await builds.build(text, {}, { tags: ['gone:2'] });
  expect([...builds.steps.values()].find(({ name }) => name.includes('echo kept'))?.cached).toBe(true);
  expect(ctr('run', '--rm', 'docker.io/library/gone:2', 'three', 'cat', '/kept')).toBe('kept\n');

  for (const { name } of await builds.engine.store.images.list()) ctr('images', 'rm', '--sync', name);
  await prune(builds.engine, { all: true });
  expect(await builds.engine.store.snapshots.list()).toEqual([]);
  expect(ctr('content', 'ls', '-q')).toBe('');
  // The one lease that is there keeps what the engine is just reading.
  expect(ctr('leases', 'ls', '-q')).toMatch(/^(drydock-\w+-view-\S+\n)?$/);
});

test('what containerd collects by itself while something is let go is in the report', async () => {
  const { content, leases } = builds.engine.store;
  await leases.create('short');
  const digest = await content.put(Buffer.alloc(5000, 'x'), { lease: 'short' });
  const report = await builds.engine.store.gc(async () => {
    await leases.delete('short');
    while ((await content.info(digest)) !== undefined) await sleep(10);
  });
  expect(report.blobs).toContain(digest);
  expect(report.reclaimed).toBeGreaterThanOrEqual(5000);
});

test('builds that run while containerd collects all the time lose nothing', async () => {
  await builds.makeBase();
  const over = new AbortController();
  const collecting = (async () => {
    while (!over.signal.aborted) {
      // A lease that is deleted with --sync collects.
      const leases = ['-a', containerd.address, '-n', namespace, 'leases'];
      await exec('ctr', [...leases, 'create', '--id', 'collect']);
      await exec('ctr', [...leases, 'delete', '--sync', 'collect']);
      await sleep(50);
    }
  })();
  try {
    const texts = [1, 2, 3].map(
      (i) => `
      FROM base AS a
      RUN echo ${i} > /a && sleep 0.2
      FROM base AS b
      COPY f /f
      RUN cat /f > /b
      FROM base
      COPY --from=a /a /
      COPY --from=b /b /
      RUN cat /a /b > /c`,
    );
    const built = await Promise.all(
      texts.map((text, i) => builds.build(text, { f: `f${i}` }, { tags: [`busy:${i + 1}`] })),
    );
    expect(built.map((image) => image.read('/c'))).toEqual(['1\nf0', '2\nf1', '3\nf2']);
  } finally {
    over.abort();
    await collecting;
  }
  expect(ctr('images', 'check')).not.toMatch(/incomplete/);
  expect((await builds.engine.store.verify()).problems).toEqual([]);
});

test('layers that `ctr content prune references` took are made again when somebody needs them', async () => {
  await builds.build('RUN echo again > /again', {}, { tags: ['again:1'] });
  // The build's lease would hold the layers for some seconds.
  await builds.engine.store.gc();
  ctr('content', 'prune', 'references');
  expect(ctr('images', 'check', 'name~=again')).toContain('incomplete');
  const file = join(builds.dir, 'again.tar');
  await saveImages(builds.engine.store, ['again:1'], createWriteStream(file));
  expect(execFileSync('skopeo', ['inspect', `docker-archive:${file}`], { encoding: 'utf8' })).toContain(
    'sha256:',
  );
});
