/** What may be gone, and what another may have made meanwhile (store/hold.ts), on every store. */
import { describe, expect, test } from 'vitest';
import { chainId, digestOf } from '../../../src/oci/digest.ts';
import {
  hold,
  holdChain,
  holdSnapshot,
  holdSnapshots,
  keepSnapshots,
  unlessThere,
  writerInTurn,
} from '../../../src/store/hold.ts';
import { snapshotLabels } from '../../../src/store/store.ts';
import { bytes, lease, nowhere, type StoreAtHand } from './at-hand.ts';

export function holdTests(at: StoreAtHand): void {
  describe('holding', () => {
    test('what is there is put under the lease; what is gone is a miss', async () => {
      const { store } = at;
      const blob = { type: 'blob' as const, id: await store.content.put(bytes('x'), { lease }) };
      await at.layer('a', undefined, () => {});
      await store.leases.create('mine', {});
      expect(await hold(store, 'mine', blob)).toBe(true);
      expect(await holdSnapshot(store, 'mine', 'a')).toBe(true);
      expect(await hold(store, 'mine', { type: 'blob', id: nowhere })).toBe(false);
      expect(await hold(store, 'mine', { type: 'snapshot', id: 'none' })).toBe(false);
      expect(await holdSnapshot(store, 'mine', 'none')).toBe(false);
      expect(await store.leases.resources('mine')).toEqual([blob, { type: 'snapshot', id: 'a' }]);
    });

    test('many snapshots are held if all of them are there', async () => {
      const { store } = at;
      const keys = ['a', 'b', 'c', 'd', 'e'];
      for (const key of keys) await at.layer(key, undefined, () => {});
      await store.leases.create('mine', {});
      expect(await holdSnapshots(store, 'mine', [])).toBe(true);
      expect(await holdSnapshots(store, 'mine', keys)).toBe(true);
      expect(await holdSnapshots(store, 'mine', [...keys, 'none'])).toBe(false);
      await keepSnapshots(store, 'mine', keys);
      await expect(keepSnapshots(store, 'mine', ['a', 'none'])).rejects.toMatchObject({ code: 'not-found' });
      await expect(holdSnapshots(store, 'none', keys)).rejects.toMatchObject({ code: 'not-found' });
    });

    test('a lease that is not there is a mistake', async () => {
      const { store } = at;
      const id = await store.content.put(bytes('x'), { lease });
      await at.layer('a', undefined, () => {});
      const mistake = { code: 'not-found', hop: 'store' };
      await expect(hold(store, 'none', { type: 'blob', id })).rejects.toMatchObject(mistake);
      await expect(holdSnapshot(store, 'none', 'a')).rejects.toMatchObject(mistake);
    });

    test('a stack is held by the chain ID of its layers', async () => {
      const { store } = at;
      const chain = chainId([digestOf('layer')])!;
      expect(await holdChain(store, lease, chain)).toBeUndefined();
      await at.layer('a', undefined, () => {});
      await store.snapshots.setLabels('a', { [snapshotLabels.chainId]: chain });
      await store.leases.create('mine', {});
      expect(await holdChain(store, 'mine', chain)).toBe('a');
      expect(await holdChain(store, 'mine', chainId([]))).toBeUndefined();
      expect(await store.leases.resources('mine')).toEqual([{ type: 'snapshot', id: 'a' }]);
    });

    test('of two who make the same thing the slower one has the other’s, under its own lease', async () => {
      const { store } = at;
      await at.layer('a', undefined, () => {});
      await store.leases.create('mine', {});
      await store.snapshots.prepare('late', undefined, { lease: 'mine' });
      const commit = () => store.snapshots.commit('a', 'late', { lease: 'mine' });
      expect(await unlessThere(commit().then(() => 'made'))).toBeUndefined();
      expect(await store.leases.resources('mine')).toContainEqual({ type: 'snapshot', id: 'a' });
      await expect(unlessThere(store.snapshots.commit('b', 'none', { lease }))).rejects.toMatchObject({
        code: 'not-found',
      });
    });

    test('a writer waits for the one before it', async () => {
      const { store } = at;
      const expected = { digest: digestOf('bytes'), size: 5 };
      const failing = await store.content.writer('one', { lease });
      const waits = Promise.withResolvers<void>();
      const second = writerInTurn(store, 'one', { lease, expected }, undefined, waits.resolve);
      await waits.promise;
      await failing.abort();
      const writer = await second;
      await writer?.write(bytes('bytes'));
      expect(await writer?.commit()).toEqual(expected);
      expect(await writerInTurn(store, 'one', { lease, expected })).toBeUndefined();
    });

    test('who waits for another writer can be canceled', async () => {
      const { store } = at;
      const first = await store.content.writer('one', { lease });
      const stop = new AbortController();
      const waits = writerInTurn(store, 'one', { lease }, stop.signal, () => stop.abort());
      await expect(waits).rejects.toMatchObject({ code: 'canceled' });
      await first.abort();
    });
  });
}
