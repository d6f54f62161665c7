/** Statements about images: one that is made of a file of the store is written once for an image. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Attestation } from '../../src/attest/types.ts';
import type { Descriptor, Index, Manifest } from '../../src/oci/types.ts';
import type { Store } from '../../src/store/store.ts';
import { closePool } from '../../src/workers/pool.ts';
import { lease, step, withStore } from '../layer/kit.ts';
import { refsOf, registry, run, solved } from './kit.ts';

afterAll(async () => {
  registry.close();
  await closePool();
});

const documentOf = async <T>(store: Store, { digest }: Pick<Descriptor, 'digest'>): Promise<T> =>
  JSON.parse((await store.content.bytes(digest)).toString()) as T;

test('is made once of a file and an image, and again for another name, file or image, or when it is gone', () =>
  withStore('overlayfs', async (store) => {
    const image = await step(store, 'image', undefined, (root) => writeFileSync(join(root, 'a'), 'a'));
    const other = await step(store, 'other', undefined, (root) => writeFileSync(join(root, 'a'), 'b'));
    const bill = await step(store, 'bill', undefined, (root) => writeFileSync(join(root, 'sbom'), '{}'));
    let made = 0;
    const attestation = (path: string): Attestation => ({
      predicateType: 'https://spdx.dev/Document',
      filename: 'sbom',
      inlineOnly: false,
      madeOf: { snapshot: bill, path },
      predicate: async () => {
        made++;
        return { of: path };
      },
    });
    const built = async (name: string, path = '/sbom', key = image) => {
      const result = { ...solved(refsOf(store).snapshot(key)), attestations: [attestation(path)] };
      const { descriptor } = await run(store, 'image', {}, { results: [result], names: [name] });
      const { manifests } = await documentOf<Index>(store, descriptor as Descriptor);
      const { layers } = await documentOf<Manifest>(store, manifests[1] as Descriptor);
      return layers[0] as Descriptor;
    };
    const count = async (...args: Parameters<typeof built>) => {
      const before = made;
      await built(...args);
      return made - before;
    };
    const first = await built('example.com/app:1');
    expect(await documentOf(store, first)).toMatchObject({ predicate: { of: '/sbom' } });
    expect(await built('example.com/app:1')).toEqual(first);
    expect(made).toBe(1);
    expect(await count('example.com/app:2')).toBe(1);
    expect(await count('example.com/app:2', '/other')).toBe(1);
    expect(await count('example.com/app:2', '/other', other)).toBe(1);
    expect(await count('example.com/app:2', '/other', other)).toBe(0);
    // Whatever is remembered, a statement that is not in the store is written again.
    for (const { name } of await store.images.list()) await store.images.delete(name);
    for (const thing of await store.leases.resources(lease)) {
      if (thing.type === 'blob') await store.leases.removeResource(lease, thing);
    }
    await store.gc();
    expect(await count('example.com/app:2', '/other', other)).toBe(1);
  }));
