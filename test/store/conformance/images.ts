import { describe, expect, test } from 'vitest';
import { mediaTypes } from '../../../src/oci/types.ts';

import { bytes, lease, nowhere, type StoreAtHand } from './at-hand.ts';

export function imagesTests(at: StoreAtHand): void {
  describe('images', () => {
    test('names are made, moved, listed and deleted', async () => {
      const target = async (data: string) => ({
        mediaType: mediaTypes.ociManifest,
        digest: await at.store.content.put(bytes(data), { lease }),
        size: data.length,
      });
      const one = await target('{"one":1}');
      const two = await target('{"two":2}');
      const made = await at.store.images.put('docker.io/library/app:1', one, { by: 'test' });
      expect(made).toMatchObject({ name: 'docker.io/library/app:1', target: one, labels: { by: 'test' } });
      const moved = await at.store.images.put('docker.io/library/app:1', two);
      expect(moved).toMatchObject({ target: two, createdAt: made.createdAt });
      expect(await at.store.images.get('docker.io/library/app:1')).toEqual(moved);
      await at.store.images.put('docker.io/library/app:2', one);
      expect((await at.store.images.list()).map((image) => image.name)).toEqual([
        'docker.io/library/app:1',
        'docker.io/library/app:2',
      ]);
      const names = async (digest: typeof nowhere) =>
        (await at.store.images.of(digest)).map(({ name }) => name);
      expect(await names(one.digest)).toEqual(['docker.io/library/app:2']);
      expect(await names(nowhere)).toEqual([]);
      expect(await at.store.images.delete('docker.io/library/app:1')).toBe(true);
      expect(await at.store.images.delete('docker.io/library/app:1')).toBe(false);
      expect(await at.store.images.get('docker.io/library/app:1')).toBeUndefined();
      await expect(at.store.images.put('x', { ...one, digest: nowhere })).rejects.toMatchObject({
        code: 'not-found',
      });
    });
  });
}
