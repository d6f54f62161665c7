/**
 * Lazy bases in a containerd whose stargz snapshotter serves their layers. The snapshotter here is the test kit's own,
 * which is told of layers as that one is; nothing but its files is fetched from the registry.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EngineOptions, openEngine } from '../../src/engine/engine.ts';
import type { Descriptor } from '../../src/oci/types.ts';
import { prune } from '../../src/upkeep/disk-usage.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';
import { startContainerd, type TestContainerd } from '../kit/containerd.ts';
import { type FaultProxy, startFaultProxy } from '../kit/fault-proxy.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { type RemoteSnapshotter, startRemoteSnapshotter } from '../kit/remote-snapshotter.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-lazy-'));
const publisher = new Builds();
let registry: TestRegistry;
let proxy: FaultProxy;
let snapshotter: RemoteSnapshotter;
let containerd: TestContainerd;
let layers: Descriptor[];

beforeAll(async () => {
  registry = await startRegistry();
  proxy = await startFaultProxy(registry.host);
  snapshotter = await startRemoteSnapshotter();
  containerd = await startContainerd({ snapshotters: { stargz: snapshotter.address } });
  await publisher.open();
  const attrs = { push: 'true', compression: 'estargz', 'force-compression': 'true' };
  const outputs = [{ type: 'image' as const, attrs }];
  await publisher.build(
    'COPY one /one\nCOPY two /two',
    { one: 'one\n', two: 'two\n' },
    {
      tags: [`${registry.host}/base:1`],
      outputs,
    },
  );
  const url = `http://${registry.host}/v2/base`;
  const accept = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = await fetch(`${url}/manifests/1`, { headers: { accept } });
  ({ layers } = (await manifest.json()) as { layers: Descriptor[] });
}, 120_000);
afterAll(async () => {
  await publisher.close();
  await containerd.stop();
  await snapshotter.stop();
  await proxy.stop();
  await registry.stop();
  await closePool();
  rmSync(dir, { recursive: true, force: true });
});

/** Has the snapshotter serve these layers, and no others. */
async function serve(digests: readonly string[]): Promise<void> {
  snapshotter.layers.clear();
  snapshotter.offered.length = 0;
  for (const digest of digests) {
    const blob = await fetch(`http://${registry.host}/v2/base/blobs/${digest}`);
    snapshotter.layers.set(digest, gunzipSync(Buffer.from(await blob.arrayBuffer())));
  }
}

let count = 0;
/** Work with an engine on a namespace of its own; returns the blobs that it has fetched. */
async function blobsFetched(work: (builds: Builds) => Promise<void>): Promise<string[]> {
  const builds = new Builds();
  const namespace = `lazy-${++count}`;
  const options: EngineOptions = {
    root: join(dir, namespace),
    imageStore: 'containerd',
    containerdAddress: containerd.address,
    containerdNamespace: namespace,
    snapshotter: 'stargz',
  };
  builds.engine = await openEngine(options);
  const before = proxy.asked.length;
  try {
    await work(builds);
  } finally {
    await builds.close();
  }
  const asked = proxy.asked.slice(before).map((each) => /^GET .*\/blobs\/(\S+)$/.exec(each)?.[1] ?? '');
  return asked.filter((digest) => layers.some((layer) => layer.digest === digest));
}

const text = () => `FROM ${proxy.host}/base:1\nRUN cat /one /two > /read`;
const alone = [{ type: 'image' as const, attrs: { push: 'true', store: 'false' } }];

test('what the snapshotter serves is not fetched, and a push to the base’s registry fetches nothing', async () => {
  await serve(layers.map(({ digest }) => digest));
  const fetched = await blobsFetched(async (builds) => {
    await builds.build(text(), {}, { outputs: [{ type: 'cacheonly', attrs: {} }] }).catch(onlyUnnamed);
    expect(snapshotter.offered).toHaveLength(layers.length);
    const all = layers.map(({ digest }) => digest);
    for (const [i, labels] of snapshotter.offered.entries()) {
      expect(labels).toMatchObject({
        'containerd.io/snapshot/remote/stargz.reference': expect.stringContaining(`${proxy.host}/base:1`),
        'containerd.io/snapshot/remote/stargz.digest': all[i],
        'containerd.io/snapshot/remote/stargz.layers': all.slice(i).join(','),
        'containerd.io/snapshot/cri.layer-digest': all[i],
        'containerd.io/snapshot/stargz/toc.digest': expect.stringMatching(/^sha256:/),
      });
    }
    const tags = [`${proxy.host}/app:1`];
    await builds.build(text(), {}, { outputs: alone, tags }).catch(onlyUnnamed);
  });
  expect(fetched).toEqual([]);
});

test('a layer that it does not serve is unpacked, and so are those above it', async () => {
  const [first, , ...others] = layers.map(({ digest }) => digest);
  await serve([first as string, ...others]);
  const fetched = await blobsFetched(async (builds) => {
    await builds.build(text(), {}, { outputs: [{ type: 'cacheonly', attrs: {} }] }).catch(onlyUnnamed);
    expect(snapshotter.offered).toHaveLength(2);
  });
  expect(fetched.sort()).toEqual(
    layers
      .slice(1)
      .map(({ digest }) => digest)
      .sort(),
  );
});

test('an image in the store is whole, and prune leaves nothing', async () => {
  await serve(layers.map(({ digest }) => digest));
  const fetched = await blobsFetched(async (builds) => {
    expect((await builds.build(text())).read('/read')).toBe('one\ntwo\n');
    const { store } = builds.engine;
    for (const { digest } of layers) expect(await store.content.info(digest)).toBeDefined();
    await store.images.delete('docker.io/library/test:latest');
    await prune(builds.engine, { all: true });
    expect(await store.snapshots.list()).toEqual([]);
  });
  expect(fetched.sort()).toEqual(layers.map(({ digest }) => digest).sort());
});

/** These builds name no image in the store, which the kit looks for in the end. */
function onlyUnnamed(err: unknown): void {
  if (!/no such image/i.test(String(err))) throw err;
}
