/**
 * What every Store does, whatever stands behind it. `conformanceSuite` registers the tests; `openStore` gives an
 * empty store, `done` closes it and takes its traces away.
 */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lgetxattr, lsetxattr, makedev, mknod, S_IFCHR } from '../../src/linux/libc.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { type Digest, mediaTypes } from '../../src/oci/types.ts';
import { contentRefLabels, snapshotRefLabel } from '../../src/store/labels.ts';
import { type Store, snapshotLabels } from '../../src/store/store.ts';
import { withMounted } from '../kit/mounted.ts';

export type OpenStore = () => Promise<{ store: Store; done(): Promise<void> }>;

const bytes = (text: string) => Buffer.from(text);
const nowhere: Digest = digestOf('nowhere');

async function text(stream: Readable): Promise<string> {
  return Buffer.concat(await stream.toArray()).toString();
}

export function conformanceSuite(name: string, openStore: OpenStore): void {
  describe(`${name}: a store`, () => {
    let store: Store;
    let done: () => Promise<void>;
    const lease = 'the-build';

    beforeEach(async () => {
      ({ store, done } = await openStore());
      await store.leases.create(lease);
    });
    afterEach(() => done());

    /** Makes a committed snapshot by writing through its mounts. */
    async function layer(key: string, parent: string | undefined, write: (dir: string) => void) {
      const mounts = await store.snapshots.prepare(`${key}-active`, parent, { lease });
      await withMounted(mounts, write);
      await store.snapshots.commit(key, `${key}-active`, { lease });
    }

    async function see<T>(key: string, look: (dir: string) => T): Promise<T> {
      const view = await store.snapshots.view(key);
      try {
        return await withMounted(view.mounts, look);
      } finally {
        await view.release();
      }
    }

    describe('content', () => {
      test('a small blob is put, described and read, whole or in part', async () => {
        const digest = await store.content.put(bytes('hello, dock'), { lease, labels: { a: '1' } });
        expect(digest).toBe(digestOf('hello, dock'));
        expect(await store.content.info(digest)).toMatchObject({ digest, size: 11, labels: { a: '1' } });
        expect((await store.content.bytes(digest)).toString()).toBe('hello, dock');
        expect(await text(await store.content.read(digest))).toBe('hello, dock');
        expect(await text(await store.content.read(digest, { offset: 7 }))).toBe('dock');
        expect(await text(await store.content.read(digest, { offset: 1, length: 4 }))).toBe('ello');
        expect(await text(await store.content.read(digest, { offset: 11 }))).toBe('');
        await expect(store.content.read(digest, { offset: 12 })).rejects.toMatchObject({ code: 'invalid' });
        expect((await store.content.list()).map((blob) => blob.digest)).toEqual([digest]);
      });

      test('putting it again is fine and adds labels', async () => {
        const digest = await store.content.put(bytes('x'), { lease, labels: { a: '1' } });
        expect(await store.content.put(bytes('x'), { lease, labels: { b: '2' } })).toBe(digest);
        expect((await store.content.info(digest))?.labels).toEqual({ a: '1', b: '2' });
        await store.content.setLabels(digest, { a: undefined, c: '3' });
        expect((await store.content.info(digest))?.labels).toEqual({ b: '2', c: '3' });
        expect(await store.content.list()).toHaveLength(1);
      });

      test('the empty blob is a blob', async () => {
        const digest = await store.content.put(bytes(''), { lease });
        expect((await store.content.info(digest))?.size).toBe(0);
        expect(await text(await store.content.read(digest))).toBe('');
      });

      test('a big blob is written in pieces and visible only when committed', async () => {
        const data = randomBytes(300_000);
        const expected = { digest: digestOf(data), size: data.length };
        const writer = await store.content.writer('layer', { lease, expected });
        expect(writer.offset).toBe(0);
        for (let at = 0; at < data.length; at += 70_000) await writer.write(data.subarray(at, at + 70_000));
        expect(await store.content.info(expected.digest)).toBeUndefined();
        expect(await writer.commit({ made: 'here' })).toEqual(expected);
        expect((await store.content.info(expected.digest))?.labels).toEqual({ made: 'here' });
        expect((await store.content.bytes(expected.digest)).equals(data)).toBe(true);
        expect(await store.leases.resources(lease)).toContainEqual({ type: 'blob', id: expected.digest });
      });

      test('bytes that are not what was promised make no blob', async () => {
        const expected = { digest: digestOf('right'), size: 5 };
        const wrong = await store.content.writer('w', { lease, expected });
        await wrong.write(bytes('wrong'));
        await expect(wrong.commit()).rejects.toMatchObject({ code: 'corrupt', hop: 'store' });
        const short = await store.content.writer('w', { lease, expected });
        expect(short.offset).toBe(0);
        await short.write(bytes('rig'));
        await expect(short.commit()).rejects.toMatchObject({ code: 'corrupt' });
        const long = await store.content.writer('w', { lease, expected });
        await long.write(bytes('right'));
        await expect(long.write(bytes('!'))).rejects.toMatchObject({ code: 'corrupt' });
        await long.abort();
        expect(await store.content.list()).toEqual([]);
      });

      test('a broken-off write is resumed where it ended', async () => {
        const expected = { digest: digestOf('first,second'), size: 12 };
        const first = await store.content.writer('pull', { lease, expected });
        await first.write(bytes('first,'));
        await first.abort(true);
        const second = await store.content.writer('pull', { lease, expected });
        expect(second.offset).toBe(6);
        await second.write(bytes('second'));
        expect(await second.commit()).toEqual(expected);
        expect((await store.content.bytes(expected.digest)).toString()).toBe('first,second');
      });

      test('an aborted write leaves nothing', async () => {
        const first = await store.content.writer('pull', { lease });
        await first.write(bytes('first,'));
        await first.abort();
        const second = await store.content.writer('pull', { lease });
        expect(second.offset).toBe(0);
        await second.abort();
      });

      test('two writers of one ref are refused, and of a blob that is there too', async () => {
        const writer = await store.content.writer('one', { lease });
        await expect(store.content.writer('one', { lease })).rejects.toMatchObject({ code: 'conflict' });
        await writer.abort();
        const digest = await store.content.put(bytes('there'), { lease });
        await expect(
          store.content.writer('two', { lease, expected: { digest, size: 5 } }),
        ).rejects.toMatchObject({ code: 'exists' });
      });

      test('two writers of the same bytes under two refs both succeed', async () => {
        const a = await store.content.writer('a', { lease });
        const b = await store.content.writer('b', { lease });
        for (const writer of [a, b]) await writer.write(bytes('same'));
        expect(await a.commit()).toEqual(await b.commit());
        expect(await store.content.list()).toHaveLength(1);
      });

      test('what is not there is not found', async () => {
        expect(await store.content.info(nowhere)).toBeUndefined();
        await expect(store.content.read(nowhere)).rejects.toMatchObject({ code: 'not-found', hop: 'store' });
        await expect(store.content.bytes(nowhere)).rejects.toMatchObject({ code: 'not-found' });
        await expect(store.content.delete(nowhere)).rejects.toMatchObject({ code: 'not-found' });
        await expect(store.content.setLabels(nowhere, {})).rejects.toMatchObject({ code: 'not-found' });
        await expect(store.content.put(bytes('x'), { lease: 'none' })).rejects.toMatchObject({
          code: 'not-found',
        });
        expect(await store.content.list()).toEqual([]);
      });

      test('a deleted blob is gone and can come again', async () => {
        const digest = await store.content.put(bytes('x'), { lease });
        await store.content.delete(digest);
        expect(await store.content.info(digest)).toBeUndefined();
        expect(await store.leases.resources(lease)).toEqual([]);
        await store.content.put(bytes('x'), { lease });
        expect((await store.content.bytes(digest)).toString()).toBe('x');
      });

      test('where blobs are files, a worker reads and writes them directly', async () => {
        const { content } = store;
        if (!content.localPath || !content.ingestPath || !content.adopt) return;
        const path = await content.ingestPath();
        writeFileSync(path, 'by a worker');
        const digest = digestOf('by a worker');
        await expect(
          content
            .adopt(path, { digest, size: 3 }, { lease })
            .finally(() => expect(existsSync(path)).toBe(false)),
        ).rejects.toMatchObject({ code: 'corrupt' });
        for (let i = 0; i < 2; i++) {
          const again = await content.ingestPath();
          writeFileSync(again, 'by a worker');
          await content.adopt(again, { digest, size: 11 }, { lease, labels: { [`n${i}`]: 'y' } });
          expect(existsSync(again)).toBe(false);
        }
        expect(readFileSync((await content.localPath(digest))!, 'utf8')).toBe('by a worker');
        expect((await content.info(digest))?.labels).toEqual({ n0: 'y', n1: 'y' });
        expect(await content.localPath(nowhere)).toBeUndefined();
      });
    });

    describe('snapshots', () => {
      test('a child shows its parent under its own changes; the parent stays as it was', async () => {
        await layer('base', undefined, (dir) => {
          mkdirSync(`${dir}/etc`);
          writeFileSync(`${dir}/etc/a`, 'base');
          writeFileSync(`${dir}/etc/b`, 'base');
          mkdirSync(`${dir}/old/deep`, { recursive: true });
        });
        await layer('child', 'base', (dir) => {
          expect(readFileSync(`${dir}/etc/a`, 'utf8')).toBe('base');
          writeFileSync(`${dir}/etc/a`, 'child');
          rmSync(`${dir}/etc/b`);
          rmSync(`${dir}/old`, { recursive: true });
          mkdirSync(`${dir}/old`);
        });
        await see('child', (dir) => {
          expect(readdirSync(`${dir}/etc`)).toEqual(['a']);
          expect(readFileSync(`${dir}/etc/a`, 'utf8')).toBe('child');
          expect(readdirSync(`${dir}/old`)).toEqual([]);
          expect(() => writeFileSync(`${dir}/etc/a`, 'x')).toThrow('EROFS');
        });
        await see('base', (dir) => {
          expect(readdirSync(`${dir}/etc`)).toEqual(['a', 'b']);
          expect(readFileSync(`${dir}/etc/a`, 'utf8')).toBe('base');
          expect(readdirSync(`${dir}/old`)).toEqual(['deep']);
        });
        expect(await store.snapshots.stat('child')).toMatchObject({
          key: 'child',
          parent: 'base',
          kind: 'committed',
        });
        expect(await store.snapshots.stat('child-active')).toBeUndefined();
      });

      test('everything a file can be comes through to a child', async () => {
        await layer('base', undefined, (dir) => {
          writeFileSync(`${dir}/tool`, '#!');
          chownSync(`${dir}/tool`, 12, 34);
          chmodSync(`${dir}/tool`, 0o4755);
          lsetxattr(`${dir}/tool`, 'user.note', bytes('kept'));
          linkSync(`${dir}/tool`, `${dir}/tool2`);
          symlinkSync('tool', `${dir}/link`);
          mknod(`${dir}/null`, S_IFCHR | 0o666, makedev(1, 3));
          writeFileSync(`${dir}/sparse`, '');
          truncateSync(`${dir}/sparse`, 8 << 20);
        });
        const mounts = await store.snapshots.prepare('child', 'base', { lease });
        await withMounted(mounts, (dir) => {
          const tool = lstatSync(`${dir}/tool`);
          expect([tool.mode & 0o7777, tool.uid, tool.gid, tool.nlink]).toEqual([0o4755, 12, 34, 2]);
          expect(lgetxattr(`${dir}/tool`, 'user.note')?.toString()).toBe('kept');
          expect(lstatSync(`${dir}/tool2`).ino).toBe(tool.ino);
          expect(lstatSync(`${dir}/null`).rdev).toBe(Number(makedev(1, 3)));
          expect(lstatSync(`${dir}/sparse`)).toMatchObject({ size: 8 << 20 });
          // containerd's native snapshotter copies holes as zeros.
          if (store.kind === 'containerd' && store.snapshotter === 'native') return;
          expect(lstatSync(`${dir}/sparse`).blocks).toBeLessThan(100);
        });
      });

      test("the root folder's mode and owner are handed down", async () => {
        await layer('base', undefined, (dir) => {
          chmodSync(dir, 0o1750);
          chownSync(dir, 7, 8);
        });
        const mounts = await store.snapshots.prepare('child', 'base', { lease });
        await withMounted(mounts, (dir) => {
          const { mode, uid, gid } = lstatSync(dir);
          expect([mode & 0o7777, uid, gid]).toEqual([0o1750, 7, 8]);
        });
      });

      test('a fresh snapshot is an empty folder of root that anyone may enter', async () => {
        await withMounted(await store.snapshots.prepare('a', undefined, { lease }), (dir) => {
          const { mode, uid } = lstatSync(dir);
          expect([mode & 0o7777, uid]).toEqual([0o755, 0]);
          expect(readdirSync(dir)).toEqual([]);
        });
      });

      test('an active snapshot is mounted again with what was written', async () => {
        await layer('base', undefined, (dir) => writeFileSync(`${dir}/a`, ''));
        await withMounted(await store.snapshots.prepare('work', 'base', { lease }), (dir) => {
          writeFileSync(`${dir}/b`, '');
          // A folder moved within a layer is moved by copying: no redirect that only a kernel could follow.
          renameSync(`${dir}/b`, `${dir}/c`);
        });
        await withMounted(await store.snapshots.mounts('work'), (dir) => {
          expect(readdirSync(dir)).toEqual(['a', 'c']);
        });
        expect(await store.snapshots.stat('work')).toMatchObject({ kind: 'active', parent: 'base' });
      });

      test('names are taken once; a refused commit leaves the active one', async () => {
        await layer('a', undefined, () => {});
        const { snapshots } = store;
        await expect(snapshots.prepare('a', undefined, { lease })).rejects.toMatchObject({ code: 'exists' });
        await snapshots.prepare('work', undefined, { lease });
        await expect(snapshots.prepare('work', undefined, { lease })).rejects.toMatchObject({
          code: 'exists',
        });
        await expect(snapshots.commit('a', 'work', { lease })).rejects.toMatchObject({ code: 'exists' });
        expect((await snapshots.stat('work'))?.kind).toBe('active');
        await snapshots.commit('b', 'work', { lease });
        await expect(snapshots.commit('c', 'b', { lease })).rejects.toMatchObject({ code: 'conflict' });
      });

      test('only committed snapshots are parents and viewed, only active ones mounted to write', async () => {
        const { snapshots } = store;
        await snapshots.prepare('work', undefined, { lease });
        await expect(snapshots.prepare('x', 'work', { lease })).rejects.toMatchObject({ code: 'conflict' });
        await expect(snapshots.view('work')).rejects.toMatchObject({ code: 'conflict' });
        await snapshots.commit('done', 'work', { lease });
        await expect(snapshots.mounts('done')).rejects.toMatchObject({ code: 'conflict' });
        const refused = [
          snapshots.prepare('x', 'nowhere', { lease }),
          snapshots.prepare('x', undefined, { lease: 'nowhere' }),
          snapshots.mounts('nowhere'),
          snapshots.view('nowhere'),
          snapshots.commit('x', 'nowhere', { lease }),
          snapshots.setLabels('nowhere', {}),
          snapshots.usage('nowhere'),
          snapshots.remove('nowhere'),
        ];
        await Promise.all(
          refused.map((promise) =>
            expect(promise).rejects.toMatchObject({ code: 'not-found', hop: 'store' }),
          ),
        );
        expect((await snapshots.list()).map((info) => info.key)).toEqual(['done']);
      });

      test('a snapshot is removed once it has no children and no one reads it', async () => {
        await layer('base', undefined, (dir) => writeFileSync(`${dir}/a`, ''));
        await layer('child', 'base', () => {});
        await expect(store.snapshots.remove('base')).rejects.toMatchObject({ code: 'conflict' });
        const view = await store.snapshots.view('child');
        await expect(store.snapshots.remove('child')).rejects.toMatchObject({ code: 'conflict' });
        await view.release();
        await store.snapshots.remove('child');
        await store.snapshots.remove('base');
        expect(await store.snapshots.list()).toEqual([]);
        expect(await store.leases.resources(lease)).toEqual([]);
      });

      test('labels are set and removed; a chain ID leads to its snapshot', async () => {
        const chain = digestOf('chain');
        expect(await store.snapshots.byChain(chain)).toBeUndefined();
        await store.snapshots.prepare('work', undefined, { lease });
        const labels = { [snapshotLabels.chainId]: chain, a: '1' };
        await store.snapshots.commit('a', 'work', { lease, labels });
        expect(await store.snapshots.byChain(chain)).toMatchObject({ key: 'a', labels });
        await store.snapshots.setLabels('a', { a: undefined, [snapshotLabels.chainId]: digestOf('other') });
        expect(await store.snapshots.byChain(chain)).toBeUndefined();
        expect(await store.snapshots.byChain(digestOf('other'))).toMatchObject({ key: 'a' });
        expect((await store.snapshots.stat('a'))?.labels).toEqual({
          [snapshotLabels.chainId]: digestOf('other'),
        });
      });

      test('usage is what a layer itself takes', async () => {
        await layer('empty', undefined, () => {});
        await layer('full', 'empty', (dir) => {
          writeFileSync(`${dir}/a`, randomBytes(50_000));
          linkSync(`${dir}/a`, `${dir}/b`);
          mkdirSync(`${dir}/d`);
        });
        expect(await store.snapshots.usage('empty')).toEqual({ size: 0, inodes: 0 });
        const usage = await store.snapshots.usage('full');
        expect(usage.inodes).toBe(2);
        expect(usage.size).toBeGreaterThanOrEqual(50_000);
        expect(usage.size).toBeLessThan(80_000);
        expect(await store.snapshots.usage('full')).toEqual(usage);
      });

      test('a layer is put on another parent without copying, where the store can', async () => {
        if (!store.snapshots.restack) return;
        await layer('a', undefined, (dir) => writeFileSync(`${dir}/a`, 'a'));
        await layer('b', undefined, (dir) => writeFileSync(`${dir}/b`, 'b'));
        await layer('b2', 'b', (dir) => rmSync(`${dir}/b`));
        await store.snapshots.setLabels('b2', {
          [snapshotLabels.diffId]: digestOf('diff'),
          [snapshotLabels.chainId]: digestOf('chain'),
        });
        await store.snapshots.restack('a+b', 'b', 'a', { lease });
        await store.snapshots.restack('a+b+a', 'a', 'a+b', { lease });
        await store.snapshots.restack('a+b2', 'b2', 'a+b+a', { lease });
        await see('a+b+a', (dir) => expect(readdirSync(dir)).toEqual(['a', 'b']));
        await see('a+b2', (dir) => expect(readdirSync(dir)).toEqual(['a']));
        expect((await store.snapshots.stat('a+b2'))?.labels).toEqual({
          [snapshotLabels.diffId]: digestOf('diff'),
        });
        expect((await store.snapshots.byChain(digestOf('chain')))?.key).toBe('b2');
        await expect(store.snapshots.restack('a', 'b', undefined, { lease })).rejects.toMatchObject({
          code: 'exists',
        });
        // The layer's folder stays as long as any of its snapshots.
        await store.snapshots.remove('b2');
        await store.snapshots.remove('b');
        await see('a+b+a', (dir) => expect(readFileSync(`${dir}/b`, 'utf8')).toBe('b'));
        expect((await store.verify()).problems).toEqual([]);
      });
    });

    describe('images', () => {
      test('names are made, moved, listed and deleted', async () => {
        const target = async (data: string) => ({
          mediaType: mediaTypes.ociManifest,
          digest: await store.content.put(bytes(data), { lease }),
          size: data.length,
        });
        const one = await target('{"one":1}');
        const two = await target('{"two":2}');
        const made = await store.images.put('docker.io/library/app:1', one, { by: 'test' });
        expect(made).toMatchObject({ name: 'docker.io/library/app:1', target: one, labels: { by: 'test' } });
        const moved = await store.images.put('docker.io/library/app:1', two);
        expect(moved).toMatchObject({ target: two, createdAt: made.createdAt });
        expect(await store.images.get('docker.io/library/app:1')).toEqual(moved);
        await store.images.put('docker.io/library/app:2', one);
        expect((await store.images.list()).map((image) => image.name)).toEqual([
          'docker.io/library/app:1',
          'docker.io/library/app:2',
        ]);
        expect(await store.images.delete('docker.io/library/app:1')).toBe(true);
        expect(await store.images.delete('docker.io/library/app:1')).toBe(false);
        expect(await store.images.get('docker.io/library/app:1')).toBeUndefined();
        await expect(store.images.put('x', { ...one, digest: nowhere })).rejects.toMatchObject({
          code: 'not-found',
        });
      });
    });

    describe('leases and garbage collection', () => {
      test('a lease lists what was made under it, and takes and gives back things', async () => {
        const digest = await store.content.put(bytes('x'), { lease });
        await layer('a', undefined, () => {});
        const things = [
          { type: 'blob' as const, id: digest },
          { type: 'snapshot' as const, id: 'a' },
        ];
        expect(await store.leases.resources(lease)).toEqual(things);
        await store.leases.create('record', { pinned: true, labels: { why: 'cache' } });
        await store.leases.create('record', { pinned: true });
        for (const thing of things) await store.leases.add('record', thing);
        await store.leases.removeResource('record', things[0]!);
        expect(await store.leases.resources('record')).toEqual([things[1]]);
        expect(await store.leases.list()).toContainEqual({
          id: 'record',
          pinned: true,
          labels: { why: 'cache' },
        });
        await expect(store.leases.add('none', things[0]!)).rejects.toMatchObject({ code: 'not-found' });
        await expect(store.leases.add('record', { type: 'snapshot', id: 'none' })).rejects.toMatchObject({
          code: 'not-found',
        });
        await store.leases.delete('record');
        await store.leases.delete('record');
        expect((await store.leases.list()).map(({ id }) => id)).toEqual([lease]);
      });

      test('an image keeps its manifest, its layers, and the snapshots of its config, with their parents', async () => {
        await layer('base', undefined, () => {});
        await layer('top', 'base', () => {});
        await layer('other', 'base', (dir) => writeFileSync(`${dir}/f`, randomBytes(9000)));
        const labels = snapshotRefLabel(store.snapshotter, 'top');
        const config = await store.content.put(bytes('config'), { lease, labels });
        const layers = [await store.content.put(bytes('layer'), { lease })];
        const loose = await store.content.put(bytes('loose'), { lease });
        const children = [
          { mediaType: mediaTypes.ociConfig, digest: config, size: 6 },
          { mediaType: mediaTypes.ociLayerGzip, digest: layers[0]!, size: 5 },
        ];
        const manifest = await store.content.put(bytes('manifest'), {
          lease,
          labels: contentRefLabels(children),
        });
        const child = { mediaType: mediaTypes.ociManifest, digest: manifest, size: 8 };
        const index = await store.content.put(bytes('index'), { lease, labels: contentRefLabels([child]) });
        await store.images.put('app', { mediaType: mediaTypes.ociIndex, digest: index, size: 5 });

        expect(await store.gc()).toEqual({ blobs: [], snapshots: [], reclaimed: 0 });
        await store.leases.delete(lease);
        const first = await store.gc();
        expect(first).toMatchObject({ blobs: [loose], snapshots: ['other'] });
        expect(first.reclaimed).toBeGreaterThanOrEqual(9005);
        expect((await store.snapshots.list()).map((info) => info.key).sort()).toEqual(['base', 'top']);
        expect((await store.content.list()).map((blob) => blob.digest).sort()).toEqual(
          [config, ...layers, manifest, index].sort(),
        );
        await store.images.delete('app');
        expect((await store.gc()).snapshots.sort()).toEqual(['base', 'top']);
        expect(await store.content.list()).toEqual([]);
        expect((await store.verify()).problems).toEqual([]);
      });

      test('a label that is taken away, or of another snapshotter, keeps nothing', async () => {
        await layer('a', undefined, () => {});
        await layer('b', undefined, () => {});
        await store.leases.create('keep', { pinned: true });
        const holder = await store.content.put(bytes('holder'), {
          lease: 'keep',
          labels: { ...snapshotRefLabel(store.snapshotter, 'a'), ...snapshotRefLabel('stargz', 'b') },
        });
        await store.leases.delete(lease);
        expect((await store.gc()).snapshots).toEqual(['b']);
        await store.content.setLabels(holder, {
          [Object.keys(snapshotRefLabel(store.snapshotter, 'a'))[0]!]: undefined,
        });
        expect((await store.gc()).snapshots).toEqual(['a']);
        expect(await store.content.info(holder)).toBeDefined();
      });

      test('an active snapshot and an open view are kept as long as they are held', async () => {
        await layer('base', undefined, () => {});
        await store.leases.create('work', {});
        await store.snapshots.prepare('active', 'base', { lease: 'work' });
        await layer('seen', undefined, () => {});
        const view = await store.snapshots.view('seen');
        await store.leases.delete(lease);
        expect((await store.gc()).snapshots).toEqual([]);
        await view.release();
        expect((await store.gc()).snapshots).toEqual(['seen']);
        await store.leases.delete('work');
        expect((await store.gc()).snapshots.sort()).toEqual(['active', 'base']);
      });

      test('whoever is refused because it is there already holds it from then on', async () => {
        await store.leases.create('second');
        const digest = await store.content.put(bytes('x'), { lease });
        await layer('a', undefined, () => {});
        await store.snapshots.prepare('b', undefined, { lease: 'second' });
        await expect(store.snapshots.commit('a', 'b', { lease: 'second' })).rejects.toThrow();
        await expect(store.content.writer('r', { lease: 'second', expected: { digest } })).rejects.toThrow();
        await store.leases.delete(lease);
        expect(await store.gc()).toMatchObject({ blobs: [], snapshots: [] });
      });
    });
  });
}
