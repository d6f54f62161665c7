import zlib from 'node:zlib';
import { expect } from 'vitest';
import { unpackLayer } from '../../src/layer/unpack.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { Store } from '../../src/store/store.ts';
import { endOfArchive, header, padding, type TarHeader } from '../../src/tar/writer.ts';
import { withMounted } from '../kit/mounted.ts';
import { lease } from './kit.ts';

export type Spec = Partial<TarHeader> & { path: string; body?: string };
export const time = 1_700_000_000_123_456_789n;

/** A layer's tar. */
export function tar(...specs: Spec[]): Buffer {
  const parts = specs.flatMap(({ body = '', ...rest }) => {
    const type = rest.type ?? 'file';
    const mode = type === 'dir' ? 0o755 : 0o644;
    return [
      header({ type, mode, uid: 0, gid: 0, mtimeNs: time, ...rest, size: body.length }),
      Buffer.from(body),
      padding(body.length),
    ];
  });
  return Buffer.concat([...parts, endOfArchive]);
}

let made = 0;
/** Unpacks a layer's blob on a parent; returns the snapshot's key. */
export async function unpack(store: Store, parent: string | undefined, data: Buffer): Promise<string> {
  const digest = await store.content.put(data, { lease });
  const name = `layer-${++made}`;
  const mounts = await store.snapshots.prepare(`${name}-active`, parent, { lease });
  const result = await unpackLayer(store, mounts, { digest, size: data.length });
  const plain = data[0] === 0x1f ? zlib.gunzipSync(data) : data;
  expect(result.diffId).toBe(digestOf(plain));
  expect(result.size).toBe(plain.length);
  await store.snapshots.commit(name, `${name}-active`, { lease });
  return name;
}

/** Looks at a snapshot mounted. */
export async function see<T>(store: Store, key: string, look: (root: string) => T): Promise<T> {
  const view = await store.snapshots.view(key);
  try {
    return await withMounted(view.mounts, look);
  } finally {
    await view.release();
  }
}
