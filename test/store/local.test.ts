import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { openLocalStore } from '../../src/store/local/open.ts';
import { closePool } from '../../src/workers/pool.ts';
import { conformanceSuite } from './conformance.ts';

afterAll(closePool);

for (const snapshotter of ['overlayfs', 'native'] as const) {
  conformanceSuite(`store/local on ${snapshotter}`, async () => {
    const root = mkdtempSync(join(tmpdir(), 'drydock-store-'));
    const store = await openLocalStore(root, { snapshotter });
    return {
      store,
      done: async () => {
        await store.close();
        rmSync(root, { recursive: true, force: true });
      },
    };
  });
}
