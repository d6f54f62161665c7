import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
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
