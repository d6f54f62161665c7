/** Refs: the trees that build steps give each other. Real registry, real store, nothing unpacked before it is needed. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openView } from '../../src/fs/open.ts';
import { readFileIn } from '../../src/fs/read.ts';
import { chainId } from '../../src/oci/digest.ts';
import { createRefs } from '../../src/refs/refs.ts';
import type { Refs } from '../../src/refs/types.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import { openLocalStore } from '../../src/store/local/open.ts';
import type { Store } from '../../src/store/store.ts';
import { imageOf, putImage, type TestImage, tarOf } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

let registry: TestRegistry;
let root: string;
let store: Store;
let refs: Refs;
const client = new RegistryClient({ userAgent: 'test/1', retries: 1, backoffMs: 10 });
const lease = 'test';

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'drydock-refs-'));
  store = await openLocalStore(join(root, 'store'));
  await store.leases.create(lease);
  refs = createRefs({ store, registry: client });
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const three = imageOf([
  tarOf({ etc: { dir: true }, 'etc/a': 'one', 'etc/gone': 'x' }),
  tarOf({ etc: { dir: true }, 'etc/a': 'two', 'etc/.wh.gone': '' }),
  tarOf({ b: 'three' }),
]);
const layersOf = (image: TestImage) =>
  image.layers.map((descriptor, i) => ({ descriptor, diffId: image.config.rootfs.diff_ids[i]! }));

describe('an image ref', () => {
  test('fetches and unpacks only when its files are asked for', async () => {
    const source = await putImage(registry.host, 'three', three);
    const ref = refs.image(source, layersOf(three));
    expect((await ref.layers())?.layers.map((layer) => layer.snapshot)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(await store.content.list()).toEqual([]);

    const statuses: string[] = [];
    const view = openView(await ref.view({ lease, report: (id, { done }) => done && statuses.push(id) }));
    expect(readFileIn(view, '/etc/a')?.toString()).toBe('two');
    expect(view.lstat('/etc/gone')).toBeUndefined();
    expect(readFileIn(view, '/b')?.toString()).toBe('three');
    for (const { digest } of three.layers) {
      expect(statuses).toContain(digest);
      expect(statuses).toContain(`extracting ${digest}`);
    }
    const layers = (await ref.layers())?.layers;
    expect(layers?.map((layer) => layer.diffId)).toEqual(three.config.rootfs.diff_ids);
    expect(layers?.every((layer) => layer.snapshot !== undefined && layer.from === source)).toBe(true);
  });

  test('is found again by its chain ID, without a registry', async () => {
    const source = await putImage(registry.host, 'three', three);
    const key = await refs.image(source, layersOf(three)).snapshot({ lease });
    expect((await store.snapshots.byChain(chainId(three.config.rootfs.diff_ids)!))?.key).toBe(key);
    expect(await refs.image('127.0.0.1:1/gone', layersOf(three)).snapshot({ lease })).toBe(key);
  });

  test('is made once for all who ask at the same time, and each holds it by its own lease', async () => {
    const source = await putImage(registry.host, 'three', three);
    await store.leases.create('other');
    const statuses: string[] = [];
    const report = (id: string, { done }: { done?: boolean }) => done && statuses.push(id);
    const keys = await Promise.all([
      refs.image(source, layersOf(three)).snapshot({ lease, report }),
      refs.image(source, layersOf(three)).snapshot({ lease: 'other', report }),
    ]);
    expect(keys[0]).toBe(keys[1]);
    expect(statuses.filter((id) => id.startsWith('extracting'))).toHaveLength(3);
    await store.leases.delete(lease);
    await store.gc();
    expect(await store.snapshots.stat(keys[0]!)).toBeDefined();
  });

  test('two processes on one store share the result', async () => {
    const source = await putImage(registry.host, 'three', three);
    const second = await openLocalStore(join(root, 'store'));
    try {
      await second.leases.create('second');
      const theirs = createRefs({ store: second, registry: client });
      const keys = await Promise.all([
        refs.image(source, layersOf(three)).snapshot({ lease }),
        theirs.image(source, layersOf(three)).snapshot({ lease: 'second' }),
      ]);
      expect(keys[0]).toBe(keys[1]);
      expect((await store.snapshots.list()).filter((info) => info.kind === 'active')).toEqual([]);
    } finally {
      await second.close();
    }
  });

  test('keeps its original blobs as long as its snapshots live', async () => {
    const source = await putImage(registry.host, 'three', three);
    const key = await refs.image(source, layersOf(three)).snapshot({ lease });
    await store.gc();
    for (const { digest } of three.layers) expect(await store.content.info(digest)).toBeDefined();
    const layers = (await refs.snapshot(key).layers())?.layers;
    expect(layers?.map((layer) => layer.blob?.digest)).toEqual(three.layers.map((layer) => layer.digest));
  });

  test('refuses a layer whose contents are not those of the config, and leaves nothing behind', async () => {
    const source = await putImage(registry.host, 'three', three);
    const wrong = layersOf(three);
    wrong[1] = { ...wrong[1]!, diffId: three.config.rootfs.diff_ids[0]! };
    await expect(refs.image(source, wrong).snapshot({ lease })).rejects.toMatchObject({
      code: 'corrupt',
      hop: 'registry',
      message: expect.stringContaining(three.layers[1]!.digest),
    });
    expect((await store.snapshots.list()).filter((info) => info.kind === 'active')).toEqual([]);
  });

  test('stops at once when given up, and leaves no active snapshot', async () => {
    const source = await putImage(registry.host, 'three', three);
    const abort = new AbortController();
    const ref = refs.image(source, layersOf(three));
    const made = ref.snapshot({
      lease,
      signal: abort.signal,
      report: (id) => id.startsWith('extracting') && abort.abort(),
    });
    await expect(made).rejects.toMatchObject({ code: 'canceled' });
    expect((await store.snapshots.list()).filter((info) => info.kind === 'active')).toEqual([]);
    // And another try works.
    expect(await ref.snapshot({ lease })).toBe(ref.id);
  });
});

describe('a folder ref', () => {
  test('is read where it is, and copied through its filter when a snapshot is needed', async () => {
    const dir = join(root, 'context');
    mkdirSync(join(dir, 'sub'), { recursive: true });
    writeFileSync(join(dir, 'sub/kept'), 'kept');
    writeFileSync(join(dir, 'secret'), 'no');
    const ref = refs.folder({ kind: 'folder', dir, rootOwned: true, excludes: ['secret'] });
    expect(await ref.layers()).toBeUndefined();
    expect(ref.serialize()).toBeUndefined();
    const keys = await Promise.all([ref.snapshot({ lease }), ref.snapshot({ lease })]);
    expect(keys[0]).toBe(keys[1]);
    writeFileSync(join(dir, 'sub/kept'), 'changed');
    const view = openView(await refs.snapshot(keys[0]!).view({ lease }));
    expect(readFileSync(view.lstat('/sub/kept')!.hostPath, 'utf8')).toBe('kept');
    expect(view.lstat('/secret')).toBeUndefined();
  });
});

describe('refs in cache records', () => {
  test('come back while their snapshot is there, held by the lease that asks', async () => {
    const key = await refs.empty().snapshot({ lease });
    const saved = refs.snapshot(key).serialize()!;
    await store.leases.create('build2');
    expect((await refs.restore(saved, 'build2'))?.id).toBe(key);
    await store.leases.delete(lease);
    await store.leases.delete('build2');
    await store.gc();
    await store.leases.create('build3');
    expect(await refs.restore(saved, 'build3')).toBeUndefined();
  });

  test('an image ref is restored without its layers and fetches them again', async () => {
    const source = await putImage(registry.host, 'three', three);
    const saved = JSON.parse(JSON.stringify(refs.image(source, layersOf(three)).serialize()));
    const ref = await refs.restore(saved, lease);
    expect(readFileIn(openView(await ref!.view({ lease })), '/b')?.toString()).toBe('three');
  });

  test('the empty tree has no layers, and one snapshot for all', async () => {
    const empty = await refs.restore({ kind: 'empty' }, lease);
    expect(await empty!.layers()).toEqual({ where: 'here', layers: [] });
    expect(await empty!.snapshot({ lease })).toBe(await refs.empty().snapshot({ lease }));
    expect(await refs.snapshot('empty').layers()).toEqual({ where: 'here', layers: [] });
  });
});
