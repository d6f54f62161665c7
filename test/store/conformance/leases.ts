/** What every store does with its leases, and what collection keeps. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { mediaTypes } from '../../../src/oci/types.ts';
import { contentRefLabels, snapshotRefLabel } from '../../../src/store/labels.ts';
import type { LeaseResource } from '../../../src/store/store.ts';

import { bytes, lease, nowhere, type StoreAtHand } from './at-hand.ts';

export function leasesTests(at: StoreAtHand): void {
  describe('leases and garbage collection', () => {
    test('a lease lists what was made under it, and takes and gives back things', async () => {
      const digest = await at.store.content.put(bytes('x'), { lease });
      await at.layer('a', undefined, () => {});
      const things = [
        { type: 'blob' as const, id: digest },
        { type: 'snapshot' as const, id: 'a' },
      ];
      expect(await at.store.leases.resources(lease)).toEqual(things);
      await at.store.leases.create('record', { pinned: true, labels: { why: 'cache' } });
      await at.store.leases.create('record', { pinned: true });
      for (const thing of things) await at.store.leases.add('record', thing);
      await at.store.leases.removeResource('record', things[0]!);
      expect(await at.store.leases.resources('record')).toEqual([things[1]]);
      expect(await at.store.leases.list()).toContainEqual({
        id: 'record',
        pinned: true,
        labels: { why: 'cache' },
      });
      // Roots have a pinned lease for each cache record; who asks for the others is not sent them.
      expect((await at.store.leases.list({ pinned: false })).map(({ id }) => id)).toEqual([lease]);
      expect((await at.store.leases.list({ pinned: true })).map(({ id }) => id)).toEqual(['record']);
      await expect(at.store.leases.add('none', things[0]!)).rejects.toMatchObject({ code: 'not-found' });
      await expect(at.store.leases.add('record', { type: 'snapshot', id: 'none' })).rejects.toMatchObject({
        code: 'not-found',
      });
      await at.store.leases.delete('record');
      await at.store.leases.delete('record');
      expect((await at.store.leases.list()).map(({ id }) => id)).toEqual([lease]);
    });

    test('many things are taken at once; those that are not there are said, and not taken', async () => {
      const { leases, content } = at.store;
      const blob = { type: 'blob' as const, id: await content.put(bytes('x'), { lease }) };
      const keys = Array.from({ length: 20 }, (_, i) => `layer-${i}`);
      for (const key of keys) await at.layer(key, undefined, () => {});
      const layers = keys.map((id) => ({ type: 'snapshot' as const, id }));
      const gone = [
        { type: 'snapshot' as const, id: 'none' },
        { type: 'blob' as const, id: nowhere },
      ];
      await leases.create('build', {});
      expect(await leases.addAll('build', [...layers, ...gone, blob, layers[0]!])).toEqual([
        ...keys.map(() => true),
        false,
        false,
        true,
        true,
      ]);
      expect(sorted(await leases.resources('build'))).toEqual(sorted([...layers, blob]));
      await leases.create('record', { pinned: true });
      expect(await leases.addAll('record', [layers[1]!, gone[0]!])).toEqual([true, false]);
      expect(await leases.resources('record')).toEqual([layers[1]]);
      expect(await leases.addAll('build', [])).toEqual([]);
      await expect(leases.addAll('none', layers)).rejects.toMatchObject({ code: 'not-found' });
    });

    test('what was taken at once is let go of one by one, with the lease, and taken again', async () => {
      const { leases } = at.store;
      const keys = Array.from({ length: 20 }, (_, i) => `layer-${i}`);
      for (const key of keys) await at.layer(key, undefined, () => {});
      const layers = keys.map((id) => ({ type: 'snapshot' as const, id }));
      await leases.create('build', {});
      await leases.create('other', {});
      await leases.addAll('build', layers);
      await leases.addAll('other', layers.slice(0, 6));
      await leases.delete(lease);
      expect((await at.store.gc()).snapshots).toEqual([]);
      // All others stay as they are held, though they were taken with it.
      await leases.removeResource('build', layers[19]!);
      expect((await at.store.gc()).snapshots).toEqual(['layer-19']);
      await leases.delete('build');
      await leases.create('next', {});
      expect(await leases.addAll('next', layers.slice(4, 8))).toEqual([true, true, true, true]);
      expect((await at.store.gc()).snapshots.sort()).toEqual(keys.slice(8, 19).sort());
      await leases.delete('other');
      expect((await at.store.gc()).snapshots.sort()).toEqual(keys.slice(0, 4).sort());
      expect((await at.store.snapshots.list()).map(({ key }) => key).sort()).toEqual(keys.slice(4, 8).sort());
      await leases.delete('next');
      expect((await at.store.gc()).snapshots.sort()).toEqual(keys.slice(4, 8).sort());
      expect((await at.store.verify()).problems).toEqual([]);
    });

    test('a pinned lease is made with many things, lets go of one, and keeps the others', async () => {
      const { leases, content } = at.store;
      const blob = { type: 'blob' as const, id: await content.put(bytes('x'), { lease }) };
      const keys = Array.from({ length: 20 }, (_, i) => `layer-${i}`);
      for (const key of keys) await at.layer(key, undefined, () => {});
      const holds = [...keys.map((id) => ({ type: 'snapshot' as const, id })), blob];
      await leases.create('record', { pinned: true, labels: { why: 'cache' }, holds });
      expect(sorted(await leases.resources('record'))).toEqual(sorted(holds));
      expect((await leases.list({ pinned: true })).map(({ id }) => id)).toEqual(['record']);
      await leases.delete(lease);
      await leases.removeResource('record', holds[3]!);
      expect(sorted(await leases.resources('record'))).toEqual(sorted(holds.toSpliced(3, 1)));
      expect((await at.store.gc()).snapshots).toEqual(['layer-3']);
      // Other labels: the lease is made anew, and keeps its things meanwhile.
      await leases.create('record', { pinned: true, labels: { why: 'more' } });
      expect((await at.store.gc()).snapshots).toEqual([]);
      expect(sorted(await leases.resources('record'))).toEqual(sorted(holds.toSpliced(3, 1)));
      const missing = { type: 'snapshot' as const, id: 'none' };
      await expect(
        leases.create('other', { pinned: true, holds: [...holds, missing] }),
      ).rejects.toMatchObject({ code: 'not-found' });
      await leases.delete('other');
      await leases.delete('record');
      const gone = await at.store.gc();
      expect([gone.snapshots.length, gone.blobs]).toEqual([19, [blob.id]]);
      expect((await at.store.verify()).problems).toEqual([]);
    });

    test('a snapshot that was held and is removed is not taken for one that is there', async () => {
      const { leases, snapshots } = at.store;
      await at.layer('a', undefined, () => {});
      const thing = { type: 'snapshot' as const, id: 'a' };
      await leases.create('one', {});
      await leases.add('one', thing);
      await snapshots.remove('a');
      await leases.create('two', {});
      await expect(leases.add('two', thing)).rejects.toMatchObject({ code: 'not-found' });
      expect(await leases.addAll('two', [thing])).toEqual([false]);
      await snapshots.prepare('active', undefined, { lease: 'one' });
      await snapshots.commit('done', 'active', { lease: 'one' });
      expect(
        await leases.addAll('two', [
          { type: 'snapshot', id: 'active' },
          { type: 'snapshot', id: 'done' },
        ]),
      ).toEqual([false, true]);
    });

    test('an image keeps its manifest, its layers, and the snapshots of its config, with their parents', async () => {
      await at.layer('base', undefined, () => {});
      await at.layer('top', 'base', () => {});
      await at.layer('other', 'base', (dir) => writeFileSync(`${dir}/f`, randomBytes(9000)));
      const labels = snapshotRefLabel(at.store.snapshotter, 'top');
      const config = await at.store.content.put(bytes('config'), { lease, labels });
      const layers = [await at.store.content.put(bytes('layer'), { lease })];
      const loose = await at.store.content.put(bytes('loose'), { lease });
      const children = [
        { mediaType: mediaTypes.ociConfig, digest: config, size: 6 },
        { mediaType: mediaTypes.ociLayerGzip, digest: layers[0]!, size: 5 },
      ];
      const manifest = await at.store.content.put(bytes('manifest'), {
        lease,
        labels: contentRefLabels(children),
      });
      const child = { mediaType: mediaTypes.ociManifest, digest: manifest, size: 8 };
      const index = await at.store.content.put(bytes('index'), { lease, labels: contentRefLabels([child]) });
      await at.store.images.put('app', { mediaType: mediaTypes.ociIndex, digest: index, size: 5 });

      expect(await at.store.gc()).toEqual({ blobs: [], snapshots: [], reclaimed: 0 });
      const first = await at.store.gc(() => at.store.leases.delete(lease));
      expect(first).toMatchObject({ blobs: [loose], snapshots: ['other'] });
      expect(first.reclaimed).toBeGreaterThanOrEqual(9005);
      expect((await at.store.snapshots.list()).map((info) => info.key).sort()).toEqual(['base', 'top']);
      expect((await at.store.content.list()).map((blob) => blob.digest).sort()).toEqual(
        [config, ...layers, manifest, index].sort(),
      );
      expect((await at.store.gc(() => at.store.images.delete('app'))).snapshots.sort()).toEqual([
        'base',
        'top',
      ]);
      expect(await at.store.content.list()).toEqual([]);
      expect((await at.store.verify()).problems).toEqual([]);
    });

    test('a label that is taken away, or of another snapshotter, keeps nothing', async () => {
      await at.layer('a', undefined, () => {});
      await at.layer('b', undefined, () => {});
      await at.store.leases.create('keep', { pinned: true });
      const holder = await at.store.content.put(bytes('holder'), {
        lease: 'keep',
        labels: { ...snapshotRefLabel(at.store.snapshotter, 'a'), ...snapshotRefLabel('stargz', 'b') },
      });
      expect((await at.store.gc(() => at.store.leases.delete(lease))).snapshots).toEqual(['b']);
      await at.store.content.setLabels(holder, {
        [Object.keys(snapshotRefLabel(at.store.snapshotter, 'a'))[0]!]: undefined,
      });
      expect((await at.store.gc()).snapshots).toEqual(['a']);
      expect(await at.store.content.info(holder)).toBeDefined();
    });

    test('an active snapshot and an open view are kept as long as they are held', async () => {
      await at.layer('base', undefined, () => {});
      await at.store.leases.create('work', {});
      await at.store.snapshots.prepare('active', 'base', { lease: 'work' });
      await at.layer('seen', undefined, () => {});
      const view = await at.store.snapshots.view('seen');
      expect((await at.store.gc(() => at.store.leases.delete(lease))).snapshots).toEqual([]);
      await view.release();
      expect((await at.store.gc()).snapshots).toEqual(['seen']);
      expect((await at.store.gc(() => at.store.leases.delete('work'))).snapshots.sort()).toEqual([
        'active',
        'base',
      ]);
    });

    test('whoever is refused because it is there already holds it from then on', async () => {
      await at.store.leases.create('second');
      const digest = await at.store.content.put(bytes('x'), { lease });
      await at.layer('a', undefined, () => {});
      await at.store.snapshots.prepare('b', undefined, { lease: 'second' });
      await expect(at.store.snapshots.commit('a', 'b', { lease: 'second' })).rejects.toThrow();
      await expect(at.store.content.writer('r', { lease: 'second', expected: { digest } })).rejects.toThrow();
      expect(await at.store.gc(() => at.store.leases.delete(lease))).toMatchObject({
        blobs: [],
        snapshots: [],
      });
    });
  });
}

function sorted(things: readonly LeaseResource[]): LeaseResource[] {
  return [...things].sort((a, b) => (a.id < b.id ? -1 : 1));
}
