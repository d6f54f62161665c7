import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import zlib from 'node:zlib';
import { openLocalStore } from '../../src/store/local/open.ts';
import type { Store } from '../../src/store/store.ts';
import { withMounted } from '../kit/mounted.ts';
import { type ReadEntry, readTar } from '../tar/kit.ts';

export const lease = 'test';

/** A store in a temporary folder with a lease, for the time of one function. */
export async function withStore<T>(
  snapshotter: 'overlayfs' | 'native',
  body: (store: Store) => Promise<T>,
): Promise<T> {
  const root = mkdtempSync(join(tmpdir(), 'drydock-layer-'));
  const store = await openLocalStore(root, { snapshotter });
  try {
    await store.leases.create(lease);
    return await body(store);
  } finally {
    await store.close();
    rmSync(root, { recursive: true, force: true });
  }
}

/** Makes the committed snapshot `name` on `parent` by changing the mounted tree, as a build step does. */
export async function step(
  store: Store,
  name: string,
  parent: string | undefined,
  change: (root: string) => void | Promise<void>,
): Promise<string> {
  const mounts = await store.snapshots.prepare(`${name}-active`, parent, { lease });
  await withMounted(mounts, change);
  await store.snapshots.commit(name, `${name}-active`, { lease });
  return name;
}

export function unzip(blob: Buffer): Buffer {
  if (blob[0] === 0x1f) return zlib.gunzipSync(blob);
  if (blob[0] === 0x28) return zlib.zstdDecompressSync(blob);
  return blob;
}

/** The entries of a layer blob by path. */
export function entriesOf(blob: Buffer): Map<string, ReadEntry> {
  return new Map(readTar(unzip(blob)).map((entry) => [entry.path, entry]));
}

/** The store with some methods of its content replaced, or taken away. */
export function withContent(store: Store, changes: Partial<Store['content']>): Store {
  const over = <T extends object>(target: T, own: object): T =>
    new Proxy(target, {
      get(_, name) {
        if (name in own) return Reflect.get(own, name);
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  return over(store, { content: over(store.content, changes) });
}
