import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/index.ts';
import { openContainerdStore } from '../../src/store/containerd/open.ts';
import { closePool } from '../../src/workers/pool.ts';
import { startContainerd, type TestContainerd } from '../kit/containerd.ts';
import { conformanceSuite } from './conformance.ts';

let containerd: TestContainerd;
let stores = 0;

beforeAll(async () => {
  containerd = await startContainerd();
});
afterAll(async () => {
  await containerd.stop();
  await closePool();
});

// Each test has a namespace of its own: an empty store without starting another containerd.
for (const [name, options] of [
  ['overlayfs', { snapshotter: 'overlayfs' }],
  ['overlayfs, its files out of reach', { snapshotter: 'overlayfs', streamBlobs: true }],
  ['native', { snapshotter: 'native' }],
] as const) {
  conformanceSuite(`store/containerd on ${name}`, async () => {
    const namespace = `test-${++stores}`;
    const root = join(containerd.dir, namespace);
    mkdirSync(root);
    const store = await openContainerdStore({ root, address: containerd.address, namespace, ...options });
    return { store, done: () => store.close() };
  });
}

test('what an ended lease held is there for the next one, and goes with gc', async () => {
  const namespace = `test-${++stores}`;
  const root = join(containerd.dir, namespace);
  mkdirSync(root);
  const { address } = containerd;
  const store = await openContainerdStore({ root, address, namespace, snapshotter: 'overlayfs' });
  try {
    await store.leases.create('one');
    const blob = await store.content.put(Buffer.from('of a build'), { lease: 'one' });
    await store.leases.delete('one');
    expect(await store.leases.list()).toEqual([]);
    // What nobody else holds would be gone by now: containerd collects within a second.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    await store.leases.create('two');
    await store.leases.add('two', { type: 'blob', id: blob });
    expect((await store.gc()).blobs).toEqual([]);
    await store.leases.delete('two');
    expect((await store.gc()).blobs).toEqual([blob]);
    expect(await store.content.info(blob)).toBeUndefined();
  } finally {
    await store.close();
  }
});

test('a blob that lingers outlives containerd’s own collections, until gc or an hour has gone', async () => {
  const namespace = `test-${++stores}`;
  const root = join(containerd.dir, namespace);
  mkdirSync(root);
  const { address } = containerd;
  const store = await openContainerdStore({ root, address, namespace, snapshotter: 'overlayfs' });
  try {
    await store.leases.create('work');
    const [kept, lost] = await Promise.all(
      ['kept', 'lost'].map((text) => store.content.put(Buffer.from(text), { lease: 'work' })),
    );
    await store.content.linger?.(kept as Digest);
    await store.content.linger?.(kept as Digest);
    await store.leases.delete('work');
    await expect.poll(() => store.content.info(lost as Digest)).toBeUndefined();
    expect(await store.content.info(kept as Digest)).toMatchObject({ size: 4 });
    expect((await store.leases.list()).map(({ id }) => id)).toEqual([]);
    expect((await store.gc()).blobs).toEqual([kept]);
  } finally {
    await store.close();
  }
});
