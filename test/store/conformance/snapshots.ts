/** What every store does with its snapshots. */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
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
import { describe, expect, test } from 'vitest';
import { openView } from '../../../src/fs/open.ts';
import { specOfMounts } from '../../../src/fs/view.ts';
import { lgetxattr, lsetxattr, makedev, mknod, S_IFCHR } from '../../../src/linux/libc.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { snapshotLabels } from '../../../src/store/store.ts';
import { withMounted } from '../../kit/mounted.ts';

import { bytes, lease, type StoreAtHand } from './at-hand.ts';

export function snapshotsTests(at: StoreAtHand): void {
  describe('snapshots', () => {
    test('a child shows its parent under its own changes; the parent stays as it was', async () => {
      await at.layer('base', undefined, (dir) => {
        mkdirSync(`${dir}/etc`);
        writeFileSync(`${dir}/etc/a`, 'base');
        writeFileSync(`${dir}/etc/b`, 'base');
        mkdirSync(`${dir}/old/deep`, { recursive: true });
      });
      await at.layer('child', 'base', (dir) => {
        expect(readFileSync(`${dir}/etc/a`, 'utf8')).toBe('base');
        writeFileSync(`${dir}/etc/a`, 'child');
        rmSync(`${dir}/etc/b`);
        rmSync(`${dir}/old`, { recursive: true });
        mkdirSync(`${dir}/old`);
      });
      await at.see('child', (dir) => {
        expect(readdirSync(`${dir}/etc`)).toEqual(['a']);
        expect(readFileSync(`${dir}/etc/a`, 'utf8')).toBe('child');
        expect(readdirSync(`${dir}/old`)).toEqual([]);
        expect(() => writeFileSync(`${dir}/etc/a`, 'x')).toThrow('EROFS');
      });
      await at.see('base', (dir) => {
        expect(readdirSync(`${dir}/etc`)).toEqual(['a', 'b']);
        expect(readFileSync(`${dir}/etc/a`, 'utf8')).toBe('base');
        expect(readdirSync(`${dir}/old`)).toEqual(['deep']);
      });
      expect(await at.store.snapshots.stat('child')).toMatchObject({
        key: 'child',
        parent: 'base',
        kind: 'committed',
      });
      expect(await at.store.snapshots.stat('child-active')).toBeUndefined();
    });

    test('everything a file can be comes through to a child', async () => {
      await at.layer('base', undefined, (dir) => {
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
      const mounts = await at.store.snapshots.prepare('child', 'base', { lease });
      await withMounted(mounts, (dir) => {
        const tool = lstatSync(`${dir}/tool`);
        expect([tool.mode & 0o7777, tool.uid, tool.gid, tool.nlink]).toEqual([0o4755, 12, 34, 2]);
        expect(lgetxattr(`${dir}/tool`, 'user.note')?.toString()).toBe('kept');
        expect(lstatSync(`${dir}/tool2`).ino).toBe(tool.ino);
        expect(lstatSync(`${dir}/null`).rdev).toBe(Number(makedev(1, 3)));
        expect(lstatSync(`${dir}/sparse`)).toMatchObject({ size: 8 << 20 });
        // containerd's native snapshotter copies holes as zeros.
        if (at.store.kind === 'containerd' && at.store.snapshotter === 'native') return;
        expect(lstatSync(`${dir}/sparse`).blocks).toBeLessThan(100);
      });
    });

    test("the root folder's mode and owner are handed down", async () => {
      await at.layer('base', undefined, (dir) => {
        chmodSync(dir, 0o1750);
        chownSync(dir, 7, 8);
      });
      const mounts = await at.store.snapshots.prepare('child', 'base', { lease });
      await withMounted(mounts, (dir) => {
        const { mode, uid, gid } = lstatSync(dir);
        expect([mode & 0o7777, uid, gid]).toEqual([0o1750, 7, 8]);
      });
    });

    test('a fresh snapshot is an empty folder of root that anyone may enter', async () => {
      await withMounted(await at.store.snapshots.prepare('a', undefined, { lease }), (dir) => {
        const { mode, uid } = lstatSync(dir);
        expect([mode & 0o7777, uid]).toEqual([0o755, 0]);
        expect(readdirSync(dir)).toEqual([]);
      });
    });

    test('an active snapshot is mounted again with what was written', async () => {
      await at.layer('base', undefined, (dir) => writeFileSync(`${dir}/a`, ''));
      await withMounted(await at.store.snapshots.prepare('work', 'base', { lease }), (dir) => {
        writeFileSync(`${dir}/b`, '');
        // A folder moved within a layer is moved by copying: no redirect that only a kernel could follow.
        renameSync(`${dir}/b`, `${dir}/c`);
      });
      await withMounted(await at.store.snapshots.mounts('work'), (dir) => {
        expect(readdirSync(dir)).toEqual(['a', 'c']);
      });
      expect(await at.store.snapshots.stat('work')).toMatchObject({ kind: 'active', parent: 'base' });
    });

    test('names are taken once; a refused commit leaves the active one', async () => {
      await at.layer('a', undefined, () => {});
      const { snapshots } = at.store;
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
      const { snapshots } = at.store;
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
        refused.map((promise) => expect(promise).rejects.toMatchObject({ code: 'not-found', hop: 'store' })),
      );
      expect((await snapshots.list()).map((info) => info.key)).toEqual(['done']);
    });

    test('a snapshot is removed once it has no children and no one reads it', async () => {
      await at.layer('base', undefined, (dir) => writeFileSync(`${dir}/a`, ''));
      await at.layer('child', 'base', () => {});
      await expect(at.store.snapshots.remove('base')).rejects.toMatchObject({ code: 'conflict' });
      const view = await at.store.snapshots.view('child');
      await expect(at.store.snapshots.remove('child')).rejects.toMatchObject({ code: 'conflict' });
      await view.release();
      await at.store.snapshots.remove('child');
      await at.store.snapshots.remove('base');
      expect(await at.store.snapshots.list()).toEqual([]);
      expect(await at.store.leases.resources(lease)).toEqual([]);
    });

    test('labels are set and removed; a chain ID leads to its snapshot', async () => {
      const chain = digestOf('chain');
      expect(await at.store.snapshots.byChain(chain)).toBeUndefined();
      await at.store.snapshots.prepare('work', undefined, { lease });
      const labels = { [snapshotLabels.chainId]: chain, a: '1' };
      await at.store.snapshots.commit('a', 'work', { lease, labels });
      expect(await at.store.snapshots.byChain(chain)).toMatchObject({ key: 'a', labels });
      await at.store.snapshots.setLabels('a', { a: undefined, [snapshotLabels.chainId]: digestOf('other') });
      expect(await at.store.snapshots.byChain(chain)).toBeUndefined();
      expect(await at.store.snapshots.byChain(digestOf('other'))).toMatchObject({ key: 'a' });
      expect((await at.store.snapshots.stat('a'))?.labels).toEqual({
        [snapshotLabels.chainId]: digestOf('other'),
      });
    });

    test('a stack that is too deep to be mounted by full paths is read, written to and mounted', async () => {
      const { leases, snapshots } = at.store;
      // Layers that hold their parents' files too have no depth.
      const depth = snapshots.restack === undefined ? 3 : 160;
      for (let i = 0; i < depth; i++) {
        const parent = i === 0 ? undefined : `n${i - 1}`;
        const spec = specOfMounts(await snapshots.prepare(`n${i}-w`, parent, { lease }));
        if (spec.kind === 'layers') writeFileSync(`${spec.dirs[0]}/n${i}`, '');
        await snapshots.commit(`n${i}`, `n${i}-w`, { lease });
      }
      const top = `n${depth - 1}`;
      const chain = await snapshots.chain(top);
      expect(chain.map(({ key }) => key)).toEqual(Array.from({ length: depth }, (_, i) => `n${i}`));
      const view = await snapshots.view(top);
      expect(openView(specOfMounts(view.mounts)).readdir('/')).toHaveLength(depth);
      await view.release();
      await at.see(top, (dir) => expect(readdirSync(dir)).toHaveLength(depth));
      await leases.create('deep');
      await withMounted(await snapshots.prepare('on-top', top, { lease: 'deep' }), (dir) => {
        rmSync(`${dir}/n0`);
        expect(readdirSync(dir)).toHaveLength(depth - 1);
      });
    });

    test('the chain of a snapshot is what it stands on, with the labels that each has now', async () => {
      const { snapshots } = at.store;
      for (const [key, parent] of [
        ['a', undefined],
        ['b', 'a'],
        ['c', 'b'],
      ] as const)
        await at.layer(key, parent, () => {});
      const labelsOf = async (key: string) =>
        (await snapshots.chain(key)).map(({ key: at, labels }) => [at, labels]);
      const none: Record<string, string> = {};
      expect(await labelsOf('c')).toEqual([
        ['a', none],
        ['b', none],
        ['c', none],
      ]);
      await snapshots.setLabels('a', { one: '1', two: '2' });
      await snapshots.setLabels('a', { two: undefined });
      expect(await labelsOf('c')).toEqual([
        ['a', { one: '1' }],
        ['b', none],
        ['c', none],
      ]);
      // Another snapshot under the same name stands on something else.
      await snapshots.remove('c');
      await at.layer('c', 'a', () => {});
      expect(await labelsOf('c')).toEqual([
        ['a', { one: '1' }],
        ['c', none],
      ]);
      await snapshots.prepare('w', 'c', { lease });
      expect((await snapshots.chain('w')).map(({ key, kind }) => [key, kind])).toEqual([
        ['a', 'committed'],
        ['c', 'committed'],
        ['w', 'active'],
      ]);
      expect(await snapshots.chain('nothing')).toEqual([]);
    });

    test('usage is what a layer itself takes', async () => {
      await at.layer('empty', undefined, () => {});
      await at.layer('full', 'empty', (dir) => {
        writeFileSync(`${dir}/a`, randomBytes(50_000));
        linkSync(`${dir}/a`, `${dir}/b`);
        mkdirSync(`${dir}/d`);
      });
      expect(await at.store.snapshots.usage('empty')).toEqual({ size: 0, inodes: 0 });
      const usage = await at.store.snapshots.usage('full');
      expect(usage.inodes).toBe(2);
      expect(usage.size).toBeGreaterThanOrEqual(50_000);
      expect(usage.size).toBeLessThan(80_000);
      expect(await at.store.snapshots.usage('full')).toEqual(usage);
    });

    test('a layer is put on another parent without copying, where the store can', async () => {
      if (!at.store.snapshots.restack) return;
      await at.layer('a', undefined, (dir) => writeFileSync(`${dir}/a`, 'a'));
      await at.layer('b', undefined, (dir) => writeFileSync(`${dir}/b`, 'b'));
      await at.layer('b2', 'b', (dir) => rmSync(`${dir}/b`));
      await at.store.snapshots.setLabels('b2', {
        [snapshotLabels.diffId]: digestOf('diff'),
        [snapshotLabels.chainId]: digestOf('chain'),
      });
      await at.store.snapshots.restack('a+b', 'b', 'a', { lease });
      await at.store.snapshots.restack('a+b+a', 'a', 'a+b', { lease });
      await at.store.snapshots.restack('a+b2', 'b2', 'a+b+a', { lease });
      await at.see('a+b+a', (dir) => expect(readdirSync(dir)).toEqual(['a', 'b']));
      await at.see('a+b2', (dir) => expect(readdirSync(dir)).toEqual(['a']));
      // It is as old as it was.
      const madeAt = (await at.store.snapshots.stat('b2'))?.createdAt;
      expect((await at.store.snapshots.stat('a+b2'))?.labels).toEqual({
        [snapshotLabels.diffId]: digestOf('diff'),
        [snapshotLabels.madeAt]: String(madeAt),
        [snapshotLabels.layerOf]: 'b2',
      });
      // Whose layer it is, is told also when it is put elsewhere again.
      await at.store.snapshots.restack('b2 again', 'a+b2', 'a', { lease });
      const again = (await at.store.snapshots.stat('b2 again'))?.labels;
      expect(again?.[snapshotLabels.layerOf]).toBe('b2');
      expect((await at.store.snapshots.byChain(digestOf('chain')))?.key).toBe('b2');
      await expect(at.store.snapshots.restack('a', 'b', undefined, { lease })).rejects.toMatchObject({
        code: 'exists',
      });
      // The layer's folder stays as long as any of its snapshots.
      await at.store.snapshots.remove('b2');
      await at.store.snapshots.remove('b');
      await at.see('a+b+a', (dir) => expect(readFileSync(`${dir}/b`, 'utf8')).toBe('b'));
      expect((await at.store.verify()).problems).toEqual([]);
    });
  });
}
