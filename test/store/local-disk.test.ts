/** The local store on the disk: mounts that the kernel takes, deep stacks, odd roots, and damage that is found. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Mount } from '../../src/fs/mount.ts';
import { specOfMounts } from '../../src/fs/view.ts';
import { MNT_DETACH, mount, umount } from '../../src/linux/libc.ts';
import { digestOf, hex } from '../../src/oci/digest.ts';
import { openLocalStore } from '../../src/store/local/open.ts';
import { fillReserve } from '../../src/store/shared/reserve.ts';
import type { Store } from '../../src/store/store.ts';
import { closePool } from '../../src/workers/pool.ts';
import { withMounted } from '../kit/mounted.ts';

let root: string;
const stores: Store[] = [];
const lease = 'l';

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'drydock-store-'));
});
afterEach(async () => {
  await closeAll();
  rmSync(root, { recursive: true, force: true });
});
afterAll(closePool);

async function open(dir = root, options: Parameters<typeof openLocalStore>[1] = {}): Promise<Store> {
  const store = await openLocalStore(dir, options);
  stores.push(store);
  await store.leases.create(lease, { pinned: true });
  return store;
}

async function closeAll(): Promise<void> {
  for (const store of stores.splice(0)) await store.close();
}

/** Commits `name` on `parent`, written straight into the layer's folder. */
async function layer(store: Store, name: string, parent: string | undefined): Promise<void> {
  writeFileSync(join(top(await store.snapshots.prepare(`${name}-w`, parent, { lease })), name), name);
  await store.snapshots.commit(name, `${name}-w`, { lease });
}

function top(mounts: Mount[]): string {
  const spec = specOfMounts(mounts);
  return spec.kind === 'layers' ? spec.dirs[0]! : '';
}

const blobFile = (text: string) => {
  const name = hex(digestOf(text));
  return join(root, 'blobs', 'sha256', name.slice(0, 2), name);
};

describe('overlayfs', () => {
  test('a lone layer is a bind, a stack is an overlay', async () => {
    const store = await open(root, { snapshotter: 'overlayfs' });
    const fs = (n: number) => `${root}/snapshots/${n}/fs`;
    expect(await store.snapshots.prepare('a-w', undefined, { lease })).toEqual([
      { type: 'bind', source: fs(1), options: ['rw', 'rbind'] },
    ]);
    await store.snapshots.commit('a', 'a-w', { lease });
    const [mount] = await store.snapshots.prepare('b-w', 'a', { lease });
    expect(mount).toMatchObject({ type: 'overlay', source: 'overlay' });
    expect(mount?.options).toEqual([
      'index=off',
      ...(mount?.options ?? []).filter((option) => /^(redirect_dir|metacopy)=off$/.test(option)),
      `workdir=${root}/snapshots/2/work`,
      `upperdir=${fs(2)}`,
      `lowerdir=${fs(1)}`,
    ]);
    await store.snapshots.commit('b', 'b-w', { lease });
    const view = await store.snapshots.view('b');
    expect(view.mounts[0]?.options.at(-1)).toBe(`lowerdir=${fs(2)}:${fs(1)}`);
    expect(view.mounts[0]?.options.join()).not.toContain('upperdir');
    await view.release();
    const alone = await store.snapshots.view('a');
    expect(alone.mounts).toEqual([{ type: 'bind', source: fs(1), options: ['ro', 'rbind'] }]);
    await alone.release();
  });

  test('a root with colons and commas in its path works', async () => {
    const store = await open(join(root, 'odd:root,with\\signs'), { snapshotter: 'overlayfs' });
    await layer(store, 'a', undefined);
    await layer(store, 'b', 'a');
    const view = await store.snapshots.view('b');
    await withMounted(view.mounts, (dir) => expect(readdirSync(dir)).toEqual(['a', 'b']));
    await view.release();
  });
});

describe('choice of the snapshotter', () => {
  test('a root keeps the one it was made with', async () => {
    const store = await open(root, { snapshotter: 'native' });
    await layer(store, 'a', undefined);
    await closeAll();
    expect((await open()).snapshotter).toBe('native');
    await closeAll();
    await expect(openLocalStore(root, { snapshotter: 'overlayfs' })).rejects.toMatchObject({
      code: 'conflict',
      hint: expect.stringContaining('--root'),
    });
    expect(readdirSync(join(root, 'run'))).toEqual([]);
  });

  test('auto takes overlayfs where it works, native where it does not', async () => {
    expect((await open()).snapshotter).toBe('overlayfs');
    // Overlayfs cannot have its upper folder on overlayfs.
    for (const name of ['l', 'u', 'w']) mkdirSync(join(root, 'over', name), { recursive: true });
    const at = (name: string) => join(root, 'over', name);
    const options = [`lowerdir=${at('l')}`, `upperdir=${at('u')}`, `workdir=${at('w')}`];
    await withMounted([{ type: 'overlay', source: 'overlay', options }], async (dir) => {
      await expect(openLocalStore(join(dir, 'x'), { snapshotter: 'overlayfs' })).rejects.toMatchObject({
        code: 'unsupported',
        hint: expect.stringContaining('native'),
      });
      const store = await openLocalStore(join(dir, 'y'));
      expect(store.snapshotter).toBe('native');
      await store.leases.create(lease);
      await layer(store, 'a', undefined);
      await layer(store, 'b', 'a');
      const view = await store.snapshots.view('b');
      expect(readdirSync(top(view.mounts))).toEqual(['a', 'b']);
      await store.close();
    });
  });
});

describe('a full disk', () => {
  test('is said to be full, and nothing half is left on it', async () => {
    const disk = join(root, 'disk');
    mkdirSync(disk);
    mount('tmpfs', disk, 'tmpfs', 0, 'size=11m,nr_inodes=200');
    try {
      const store = await openLocalStore(disk);
      fillReserve(disk);
      await store.leases.create(lease);
      const writer = await store.content.writer('big', { lease });
      const fill = async () => {
        for (let i = 0; i < 100; i++) await writer.write(Buffer.alloc(1 << 20, i));
      };
      const full = { code: 'exhausted', hop: 'store', hint: expect.stringContaining('prune') };
      await expect(fill()).rejects.toMatchObject(full);
      await expect(store.content.put(Buffer.alloc(2 << 20), { lease })).rejects.toMatchObject(full);
      await writer.abort();
      const makeMany = async () => {
        for (let i = 0; i < 100; i++) await store.snapshots.prepare(`s${i}`, undefined, { lease });
      };
      await expect(makeMany()).rejects.toMatchObject(full);
      for (const info of await store.snapshots.list()) await store.snapshots.remove(info.key);
      expect(await store.verify()).toEqual({ blobs: 0, snapshots: 0, problems: [] });
      expect(readdirSync(join(disk, 'snapshots'))).toEqual([]);
      expect(readdirSync(join(disk, 'ingest'))).toEqual([]);
      const digest = await store.content.put(Buffer.from('room again'), { lease });
      expect((await store.content.bytes(digest)).toString()).toBe('room again');

      // Full to the last byte, there is still a way to make room: a reserve is kept for forgetting.
      const digests = [digest];
      for (let i = 0; i < 25; i++) digests.push(await store.content.put(Buffer.alloc(40_000, i), { lease }));
      expect(() => {
        for (let size = 1 << 20; ; ) appendFileSync(join(disk, 'filler'), Buffer.alloc(size));
      }).toThrow('ENOSPC');
      await expect(store.content.put(Buffer.alloc(80_000), { lease })).rejects.toMatchObject(full);
      const labels = { note: 'x'.repeat(3000) };
      const label = async () => {
        for (const each of digests) await store.content.setLabels(each, labels);
      };
      await expect(label()).rejects.toMatchObject(full);
      await store.leases.delete(lease);
      expect((await store.gc()).blobs.sort()).toEqual(digests.sort());
      await store.leases.create(lease);
      await store.content.put(Buffer.alloc(80_000), { lease });
      await store.close();
    } finally {
      umount(disk, MNT_DETACH);
    }
  });
});

describe('damage', () => {
  test('changed and short blobs are found; a short one is not read', async () => {
    const store = await open();
    await store.content.put(Buffer.from('whole'), { lease });
    await store.content.put(Buffer.from('bent'), { lease });
    await store.content.put(Buffer.from('short'), { lease });
    writeFileSync(blobFile('bent'), 'BENT');
    truncateSync(blobFile('short'), 2);
    await expect(store.content.bytes(digestOf('short'))).rejects.toMatchObject({ code: 'corrupt' });
    await expect(store.content.read(digestOf('short'))).rejects.toMatchObject({ code: 'corrupt' });
    await expect(store.content.localPath?.(digestOf('short'))).rejects.toMatchObject({ code: 'corrupt' });
    const progress: number[] = [];
    const report = await store.verify((done, total) => progress.push(done, total));
    expect(report.problems).toEqual([
      expect.stringMatching(`${digestOf('short')} had 2 bytes, not 5`),
      expect.stringMatching(`${digestOf('bent')} have the digest ${digestOf('BENT')}`),
    ]);
    expect(progress).toEqual([1, 2, 2, 2]);
    // The short one was forgotten, so that it can be stored again.
    await store.content.put(Buffer.from('short'), { lease });
    expect((await store.content.bytes(digestOf('short'))).toString()).toBe('short');
  });

  test('files and folders that nothing names go; what lost its files is forgotten, with what stood on it', async () => {
    const store = await open(root, { snapshotter: 'overlayfs' });
    for (const [name, parent] of [['a'], ['b', 'a'], ['c', 'b'], ['d', 'a']] as const) {
      await layer(store, name, parent);
    }
    await store.content.put(Buffer.from('lost'), { lease });
    rmSync(blobFile('lost'));
    rmSync(join(root, 'snapshots', '2'), { recursive: true });
    mkdirSync(join(root, 'blobs', 'sha256', 'ff'), { recursive: true });
    const stray = ['snapshots/77', `blobs/sha256/ff/${'f'.repeat(64)}`, 'ingest/stray'].map((p) =>
      join(root, p),
    );
    for (const path of stray) writeFileSync(path, 'stray');
    const { problems } = await store.verify();
    expect(problems).toHaveLength(3);
    expect(problems.join('\n')).toMatch(/blob .* was gone[\s\S]*snapshot b [\s\S]*snapshot c /);
    for (const path of stray) expect(existsSync(path), path).toBe(false);
    expect((await store.snapshots.list()).map((info) => info.key)).toEqual(['a', 'd']);
    expect(readdirSync(join(root, 'snapshots'))).toEqual(['1', '4']);
    expect(await store.content.list()).toEqual([]);
    expect((await store.verify()).problems).toEqual([]);
  });

  test('metadata that is no database, or of a newer Drydock, is refused with advice', async () => {
    await open();
    await closeAll();
    const db = new DatabaseSync(join(root, 'store.db'));
    db.exec('PRAGMA user_version = 99');
    db.close();
    await expect(openLocalStore(root)).rejects.toMatchObject({ code: 'unsupported', hop: 'store' });
    rmSync(join(root, 'store.db'));
    appendFileSync(join(root, 'store.db'), 'not a database, but long enough to be looked at '.repeat(30));
    await expect(openLocalStore(root)).rejects.toMatchObject({ code: 'corrupt', hop: 'store' });
    expect(readdirSync(join(root, 'run'))).toEqual([]);
  });
});

describe('life and times', () => {
  test('closing takes along leases, views, active snapshots and unfinished blobs, and nothing that is pinned', async () => {
    const store = await open();
    await layer(store, 'a', undefined);
    await store.leases.create('mine');
    await store.snapshots.prepare('work', 'a', { lease: 'mine' });
    await store.snapshots.view('a');
    const writer = await store.content.writer('half', { lease: 'mine' });
    await writer.write(Buffer.from('half'));
    writeFileSync((await store.content.ingestPath?.()) ?? '', 'half');
    expect(statSync(store.runDir).isDirectory()).toBe(true);
    await closeAll();
    await store.close();
    expect(readdirSync(join(root, 'run'))).toEqual([]);
    expect(readdirSync(join(root, 'ingest'))).toEqual([]);
    expect(readdirSync(join(root, 'snapshots'))).toEqual(['1']);
    await expect(store.snapshots.list()).rejects.toMatchObject({ code: 'unavailable', hop: 'store' });
    const again = await open();
    expect((await again.leases.list()).map(({ id }) => id)).toEqual([lease]);
    expect((await again.snapshots.list()).map(({ key }) => key)).toEqual(['a']);
  });

  test('bytes left for a resume outlive the process that left them', async () => {
    const first = await (await open()).content.writer('pull', { lease });
    await first.write(Buffer.from('begun '));
    await first.abort(true);
    await closeAll();
    const second = await (await open()).content.writer('pull', { lease, resume: true });
    expect(second.offset).toBe(6);
    await second.write(Buffer.from('and done'));
    expect((await second.commit()).digest).toBe(digestOf('begun and done'));
    expect(readdirSync(join(root, 'ingest'))).toEqual([]);
  });

  test('but not for ever: after a day they are collected', async () => {
    const store = await open();
    for (const name of ['old', 'new']) {
      const writer = await store.content.writer(name, { lease });
      await writer.write(Buffer.from(name));
      await writer.abort(true);
    }
    const db = new DatabaseSync(join(root, 'store.db'));
    db.prepare(`UPDATE ingests SET updated_at = ? WHERE ref = 'old'`).run(Date.now() - 25 * 3600_000);
    db.close();
    await store.gc();
    expect(readdirSync(join(root, 'ingest'))).toHaveLength(1);
    const writers = [];
    for (const name of ['old', 'new'])
      writers.push(await store.content.writer(name, { lease, resume: true }));
    expect(writers.map((writer) => writer.offset)).toEqual([0, 3]);
  });
});
