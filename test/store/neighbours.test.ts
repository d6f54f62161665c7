/**
 * A containerd that others use too: another namespace that has the same blobs (containerd lets namespaces share them,
 * unless it is told not to), a client that writes the same at the same moment, one that deletes.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packSnapshot } from '../../src/layer/blobs.ts';
import { convertBlob } from '../../src/layer/convert.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { openContainerdStore } from '../../src/store/containerd/open.ts';
import type { Store } from '../../src/store/store.ts';
import { type OneStore, onContainerd } from '../kit/stores.ts';

const lease = 'neighbour';
const blob = (size: number, seed: string) => Buffer.alloc(size, seed);
const expectedOf = (data: Buffer) => ({ digest: digestOf(data), size: data.length });

onContainerd(
  'a containerd that namespaces share',
  (store) => {
    let a: Store;
    let b: Store;
    /** Another client of b's namespace, as another machine's or user's Drydock is. */
    let b2: Store;
    beforeAll(async () => {
      a = await open(store, 'a');
      b = await open(store, 'b');
      b2 = await open(store, 'b', 'b2');
    });
    afterAll(() => Promise.all([a, b, b2].map((each) => each.close())));

    describe('a blob that another namespace has', () => {
      test('is written as if it were not there, in one piece or several, and checked for its length', async () => {
        const data = blob(6 << 20, 'shared');
        await a.content.put(data, { lease });
        const write = async (ref: string, parts: Buffer[]) => {
          const writer = await b.content.writer(ref, { lease, expected: expectedOf(data) });
          expect(writer.offset).toBe(0);
          for (const part of parts) await writer.write(part);
          return writer.commit({ mine: '1' }).finally(() => writer.abort());
        };
        await expect(write('short', [data.subarray(0, 1000)])).rejects.toMatchObject({ code: 'corrupt' });
        await expect(write('long', [data, blob(1, 'x')])).rejects.toMatchObject({ code: 'corrupt' });
        expect(await b.content.info(digestOf(data))).toBeUndefined();
        await write('right', [data.subarray(0, 1000), data.subarray(1000)]);
        expect((await b.content.info(digestOf(data)))?.labels).toMatchObject({ mine: '1' });
        expect((await b.content.bytes(digestOf(data))).equals(data)).toBe(true);
      });

      test('need not be written by who goes on from where it is', async () => {
        const data = blob(100_000, 'resumed');
        await a.content.put(data, { lease });
        const options = { lease, expected: expectedOf(data), resume: true };
        const writer = await b.content.writer('resumed', options);
        expect(writer.offset).toBe(data.length);
        await writer.commit();
        expect((await b.content.bytes(digestOf(data))).equals(data)).toBe(true);
      });

      test('stays when the other namespace lets go of it, also while it is being taken', async () => {
        const data = blob(100_000, 'let go');
        await a.content.put(data, { lease });
        const writer = await b.content.writer('taken', { lease, expected: expectedOf(data) });
        await a.content.delete(digestOf(data));
        await a.gc();
        await writer.write(data);
        await writer.commit();
        expect((await b.content.bytes(digestOf(data))).equals(data)).toBe(true);
        await b.content.delete(digestOf(data));
        expect(await b.content.info(digestOf(data))).toBeUndefined();
      });

      test('is put, small and big', async () => {
        for (const data of [blob(10, 'small'), blob(5 << 20, 'big')]) {
          await a.content.put(data, { lease });
          const digest = await b.content.put(data, { lease, labels: { mine: '2' } });
          expect((await b.content.info(digest))?.labels.mine).toBe('2');
          expect(await a.content.info(digest)).not.toMatchObject({ labels: { mine: '2' } });
        }
      });
    });

    describe('another client of the same namespace', () => {
      test('may write the same blob at the same moment, under the same name or another', async () => {
        const data = blob(3 << 20, 'both');
        const expected = expectedOf(data);
        const mine = await b.content.writer('mine', { lease, expected });
        const theirs = await b2.content.writer('theirs', { lease, expected });
        await expect(b2.content.writer('mine', { lease, expected })).rejects.toMatchObject({
          code: 'conflict',
        });
        for (const writer of [mine, theirs]) await writer.write(data);
        expect(await Promise.all([mine.commit(), theirs.commit()])).toEqual([expected, expected]);
        const held = await Promise.all([b, b2].map((each) => each.leases.resources(lease)));
        for (const list of held) expect(list).toContainEqual({ type: 'blob', id: expected.digest });
      });

      test('may pack the same snapshot and convert the same blob at the same moment', async () => {
        await b.snapshots.prepare('packed-active', undefined, { lease });
        await b.snapshots.commit('packed', 'packed-active', { lease });
        await b2.leases.add(lease, { type: 'snapshot', id: 'packed' });
        const gzip = { compression: { type: 'gzip' }, store: 'blob', lease } as const;
        const packed = await Promise.all([b, b2].map((each) => packSnapshot(each, 'packed', gzip)));
        expect(packed[0]!.descriptor).toEqual(packed[1]!.descriptor);
        const converted = await Promise.all(
          [b, b2].map((each) => convertBlob(each, packed[0]!.descriptor, { type: 'zstd' }, { lease })),
        );
        expect(converted[0]!.descriptor).toEqual(converted[1]!.descriptor);
        expect(await b.content.info(converted[0]!.descriptor.digest)).toBeDefined();
      });

      test('may make the same snapshot at the same moment', async () => {
        const make = async (each: Store, key: string) => {
          await each.snapshots.prepare(key, undefined, { lease });
          return each.snapshots.commit('same', key, { lease }).then(
            () => 'made',
            (err) => err.code,
          );
        };
        expect((await Promise.all([make(b, 'one'), make(b2, 'two')])).sort()).toEqual(['exists', 'made']);
        for (const each of [b, b2]) {
          expect(await each.leases.resources(lease)).toContainEqual({ type: 'snapshot', id: 'same' });
        }
      });

      test('may delete what is written: it can be written again', async () => {
        const data = blob(200_000, 'deleted');
        const { digest } = expectedOf(data);
        const write = async () => {
          const writer = await b.content.writer('again', { lease, expected: expectedOf(data) });
          await writer.write(data);
          await writer.commit();
        };
        await write();
        await b2.content.delete(digest);
        expect(await b.content.info(digest)).toBeUndefined();
        await write();
        // Between being told that it is there and looking at it.
        await Promise.all([b2.content.delete(digest), b.content.put(data, { lease })]);
        await b.content.put(data, { lease });
        expect((await b.content.bytes(digest)).equals(data)).toBe(true);
      });

      test('may delete our leases: what is then made under them is refused, and said so', async () => {
        const ctr = (...args: string[]) => store.containerd().ctr('b', 'leases', ...args);
        for (const id of ctr('ls', '-q').split('\n').filter(Boolean)) ctr('rm', '--sync', id);
        await expect(b.content.put(blob(10, 'late'), { lease })).rejects.toMatchObject({
          code: 'not-found',
          hop: 'store',
        });
      });
    });
  },
  { sharing: 'shared' },
);

async function open(store: OneStore, namespace: string, folder = namespace): Promise<Store> {
  const { address, dir } = store.containerd();
  const root = join(dir, `root-${folder}`);
  mkdirSync(root, { recursive: true });
  const opened = await openContainerdStore({ root, address, namespace });
  await opened.leases.create(lease);
  return opened;
}
