/** Pull, push, tag, list, inspect and remove, with a real registry and a real store. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { findImage } from '../../src/distribution/stored.ts';
import { inspectImage } from '../../src/images/inspect.ts';
import { listImages } from '../../src/images/list.ts';
import { pullImage } from '../../src/images/pull.ts';
import { pushImage } from '../../src/images/push.ts';
import { removeImage } from '../../src/images/remove.ts';
import { tagImage } from '../../src/images/tag.ts';
import { packSnapshot } from '../../src/layer/blobs.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { type Digest, type ImageConfig, type Manifest, mediaTypes } from '../../src/oci/types.ts';
import { createRefs } from '../../src/refs/refs.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import { contentRefLabels, snapshotRefLabel } from '../../src/store/labels.ts';
import { openLocalStore } from '../../src/store/local/open.ts';
import { type Store, snapshotLabels } from '../../src/store/store.ts';
import { imageOf, indexOf, putImage, tarOf } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

let registry: TestRegistry;
let root: string;
let store: Store;
const client = new RegistryClient({ userAgent: 'test/1', retries: 1, backoffMs: 10 });

const amd = imageOf([tarOf({ a: 'amd' }), tarOf({ b: 'same' })], {
  config: { Cmd: ['sh'], Env: ['A=1'] },
});
const arm = imageOf([tarOf({ a: 'arm' }), tarOf({ b: 'same' })], {
  platform: { os: 'linux', architecture: 'arm64' },
});
const both = indexOf([amd, arm]);

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'drydock-images-'));
  store = await openLocalStore(root);
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const amd64 = { os: 'linux', architecture: 'amd64' };
const put = (name: string, image = amd) => putImage(registry.host, name, image);

describe('pull', () => {
  test('brings the manifest, config and layers of one platform, and survives a collection', async () => {
    const ref = await put('app:1', both);
    const done: string[] = [];
    const pulled = await pullImage(store, client, ref, {
      platform: amd64,
      report: (id, state) => state.done && done.push(id),
    });
    expect(pulled).toMatchObject({ id: amd.configDigest, changed: true });
    expect(pulled.record).toMatchObject({ name: ref, target: { digest: both.manifest.digest } });
    expect(done.sort()).toEqual(amd.layers.map((layer) => layer.digest).sort());
    await store.gc();
    for (const digest of amd.blobs.keys()) expect(await store.content.info(digest)).toBeDefined();
    expect(await store.content.info(arm.manifest.digest)).toBeUndefined();
    expect(await store.leases.list()).toEqual([]);
    // Nothing is unpacked by a pull.
    expect(await store.snapshots.list()).toEqual([]);
    expect((await pullImage(store, client, ref, { platform: amd64 })).changed).toBe(false);
  });

  test('of all platforms brings each', async () => {
    const ref = await put('app:all', both);
    await pullImage(store, client, ref, { all: true });
    await store.gc();
    for (const digest of both.blobs.keys()) expect(await store.content.info(digest)).toBeDefined();
    const [image] = await listImages(store);
    expect(image?.platforms).toEqual(['linux/amd64', 'linux/arm64']);
  });

  test('says which platforms there are when the one asked for is missing', async () => {
    const ref = await put('app:1', both);
    const pulling = pullImage(store, client, ref, { platform: { os: 'linux', architecture: 's390x' } });
    await expect(pulling).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('linux/s390x'),
      hint: expect.stringContaining('linux/amd64, linux/arm64'),
    });
  });

  test('by digest names the image by that digest', async () => {
    await put('app:1');
    const pulled = await pullImage(store, client, `${registry.host}/app:1@${amd.manifest.digest}`);
    expect(pulled.record.name).toBe(`${registry.host}/app@${amd.manifest.digest}`);
  });

  test('refuses a manifest whose config does not fit its layers', async () => {
    const bad = imageOf([tarOf({ a: '1' })]);
    const config = { ...bad.config, rootfs: { type: 'layers', diff_ids: [] } };
    const bytes = Buffer.from(JSON.stringify(config));
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, digest: digestOf(bytes), size: bytes.length },
      layers: bad.layers,
    };
    const manifestBytes = Buffer.from(JSON.stringify(manifest));
    bad.blobs.delete(bad.manifest.digest);
    bad.blobs.set(digestOf(bytes), bytes).set(digestOf(manifestBytes), manifestBytes);
    bad.manifest = { ...bad.manifest, digest: digestOf(manifestBytes), size: manifestBytes.length };
    const ref = await put('bad:1', bad);
    await expect(pullImage(store, client, ref)).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining('names 0 layers'),
    });
    expect(await store.images.list()).toEqual([]);
  });
});

describe('push', () => {
  test('of a pulled image keeps its digest and sends no blob that the registry can mount', async () => {
    const ref = await put('from:1');
    await pullImage(store, client, ref);
    const target = `${registry.host}/to:1`;
    const pushed = await pushImage(store, client, ref, target);
    expect(pushed.target.digest).toBe(amd.manifest.digest);
    expect((await client.resolve(target)).digest).toBe(amd.manifest.digest);
    const again = await pushImage(store, client, ref, target);
    expect(again.layers.map((layer) => layer.outcome)).toEqual(['exists', 'exists']);
  });

  test('of an index that is here whole pushes the index, else the one image that is', async () => {
    const ref = await put('multi:1', both);
    await pullImage(store, client, ref, { platform: amd64 });
    const one = await pushImage(store, client, ref, `${registry.host}/one:1`);
    expect(one.target.digest).toBe(amd.manifest.digest);
    await pullImage(store, client, ref, { all: true });
    const all = await pushImage(store, client, ref, `${registry.host}/all:1`);
    expect(all.target.digest).toBe(both.manifest.digest);
  });

  test('of a built image makes its layers, compresses them, and leaves one digest here and there', async () => {
    const name = 'docker.io/library/built:1';
    await buildImage(name);
    const before = (await store.images.get(name))?.target.digest;
    const target = `${registry.host}/built:1`;
    await tagImage(store, 'built:1', target);
    const pushed = await pushImage(store, client, target);
    expect(pushed.target.digest).not.toBe(before);
    expect((await store.images.get(target))?.target.digest).toBe(pushed.target.digest);
    expect((await store.images.get(name))?.target.digest).toBe(pushed.target.digest);
    const { bytes } = await client.manifest(target);
    const layer = (JSON.parse(bytes.toString()) as Manifest).layers.at(-1);
    expect(layer?.mediaType).toBe(mediaTypes.ociLayerGzip);
    // Another tool finds the image sound, and so do we when we pull it into an empty store.
    execFileSync('skopeo', ['copy', '--src-tls-verify=false', `docker://${target}`, `dir:${root}/out`], {
      stdio: 'pipe',
    });
    await store.gc();
    expect((await store.verify()).problems).toEqual([]);
  });

  test('to a digest is refused', async () => {
    const ref = await put('from:1');
    await pullImage(store, client, ref);
    const target = `${registry.host}/to@${amd.manifest.digest}`;
    await expect(pushImage(store, client, ref, target)).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('names and IDs', () => {
  test('an image is found by name, by digest, by ID and by the beginning of its ID', async () => {
    const ref = await put('app:1');
    await pullImage(store, client, ref);
    const id = amd.configDigest;
    const repository = ref.replace(/:1$/, '');
    for (const text of [ref, `${repository}@${amd.manifest.digest}`, id, id.slice(7), id.slice(7, 19)]) {
      expect((await findImage(store, text)).image.id).toBe(id);
    }
    await expect(findImage(store, 'nothing')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('the beginning of an ID that fits two images is refused', async () => {
    const images = Array.from({ length: 40 }, (_, i) => imageOf([tarOf({ a: `${i}` })]));
    for (const [i, image] of images.entries()) await pullImage(store, client, await put(`many:${i}`, image));
    const seen = new Map<string, Digest>();
    let prefix: string | undefined;
    for (const { configDigest } of images) {
      const two = configDigest.slice(7, 9);
      if (seen.has(two)) prefix = two;
      seen.set(two, configDigest);
    }
    // 40 IDs among 256 beginnings: the fixed inputs make sure that two of them meet.
    expect(prefix).toBeDefined();
    await expect(findImage(store, prefix!)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('ambiguous'),
    });
  });

  test('list groups an image with its names; inspect has the shape of docker inspect', async () => {
    const ref = await put('app:1');
    await pullImage(store, client, ref);
    await tagImage(store, ref, 'mine');
    expect(await listImages(store)).toMatchObject([
      {
        id: amd.configDigest,
        names: [ref, 'mine:latest'].sort(),
        digests: [`${registry.host}/app@${amd.manifest.digest}`, `mine@${amd.manifest.digest}`].sort(),
        dangling: false,
        created: Date.parse('2024-01-01T00:00:00Z'),
      },
    ]);
    expect(await inspectImage(store, 'mine')).toMatchObject({
      Id: amd.configDigest,
      RepoTags: expect.arrayContaining(['mine:latest', ref]),
      Created: '2024-01-01T00:00:00Z',
      Config: { Cmd: ['sh'], Env: ['A=1'] },
      RootFS: { Type: 'layers', Layers: amd.config.rootfs.diff_ids },
      Architecture: 'amd64',
      Os: 'linux',
      Size: amd.layers.reduce((sum, layer) => sum + layer.size, 0),
    });
  });

  test('rmi takes one name away, and the image with its last one', async () => {
    const ref = await put('app:1');
    await pullImage(store, client, ref);
    await tagImage(store, ref, 'mine');
    const id = amd.configDigest.slice(7, 19);
    await expect(removeImage(store, id)).rejects.toMatchObject({ code: 'conflict' });
    expect(await removeImage(store, 'mine')).toMatchObject({ untagged: ['mine:latest'], deleted: undefined });
    expect(await store.content.info(amd.manifest.digest)).toBeDefined();
    const removed = await removeImage(store, id);
    expect(removed).toMatchObject({ untagged: [ref], deleted: amd.configDigest });
    expect(removed.reclaimed).toBeGreaterThan(0);
    expect(await store.content.list()).toEqual([]);
  });

  test('rmi --force removes all names of an ID', async () => {
    const ref = await put('app:1');
    await pullImage(store, client, ref);
    await tagImage(store, ref, 'mine');
    expect((await removeImage(store, amd.configDigest, { force: true })).untagged).toHaveLength(2);
    expect(await listImages(store)).toEqual([]);
  });
});

/** An image as the build's exporter leaves it: a manifest whose layers nobody has packed yet. */
async function buildImage(name: string): Promise<void> {
  const lease = 'build';
  await store.leases.create(lease);
  const source = await put('base:1', amd);
  const refs = createRefs({ store, registry: client });
  const base = refs.image(source, [{ descriptor: amd.layers[0]!, diffId: amd.config.rootfs.diff_ids[0]! }]);
  await store.snapshots.prepare('active', await base.snapshot({ lease }), { lease });
  await store.snapshots.commit('step', 'active', { lease });
  const { diffId, descriptor } = await packSnapshot(store, 'step', {
    compression: { type: 'uncompressed' },
    store: 'hash-only',
    lease,
  });
  const below = amd.config.rootfs.diff_ids[0]!;
  await store.snapshots.setLabels('step', {
    [snapshotLabels.diffId]: diffId,
    [snapshotLabels.chainId]: digestOf(`${below} ${diffId}`),
  });
  const config: ImageConfig = { ...amd.config, rootfs: { type: 'layers', diff_ids: [below, diffId] } };
  const configBytes = Buffer.from(JSON.stringify(config));
  const configDigest = await store.content.put(configBytes, {
    lease,
    labels: snapshotRefLabel(store.snapshotter, 'step'),
  });
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: configDigest, size: configBytes.length },
    layers: [{ ...descriptor, mediaType: mediaTypes.ociLayer }, amd.layers[0]!].reverse(),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const labels = contentRefLabels([manifest.config, amd.layers[0]!]);
  const digest = await store.content.put(bytes, { lease, labels });
  await store.images.put(name, { mediaType: mediaTypes.ociManifest, digest, size: bytes.length });
  await store.leases.delete(lease);
}
