import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ensureBlob, labelChain, packSnapshot } from '../../src/layer/blobs.ts';
import { lsetxattr, makedev, mknod, S_IFCHR, S_IFIFO } from '../../src/linux/libc.ts';
import { chainId, digestOf } from '../../src/oci/digest.ts';
import { type Store, snapshotLabels } from '../../src/store/store.ts';
import { closePool } from '../../src/workers/pool.ts';
import { entriesOf, lease, step, unzip, withContent, withStore } from './kit.ts';

afterAll(closePool);

const plain = { type: 'uncompressed' } as const;
const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex');

async function base(store: Store): Promise<string> {
  return step(store, 'base', undefined, (root) => {
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc/keep'), 'keep');
    writeFileSync(join(root, 'etc/gone'), 'gone');
    mkdirSync(join(root, 'dir/deep'), { recursive: true });
    writeFileSync(join(root, 'dir/deep/old'), 'old');
    writeFileSync(join(root, 'file'), 'file');
    writeFileSync(join(root, 'linked'), 'linked');
    for (const path of ['etc/keep', 'etc/gone', 'dir/deep/old', 'file', 'linked']) {
      utimesSync(join(root, path), 1000, 1000);
    }
  });
}

async function blobOf(store: Store, key: string): Promise<Buffer> {
  const { descriptor } = await packSnapshot(store, key, { compression: plain, store: 'blob', lease });
  return store.content.bytes(descriptor.digest);
}

describe.each(['overlayfs', 'native'] as const)('layers of %s snapshots', (snapshotter) => {
  test('hold what a step changed, as a tar that GNU tar reads', () =>
    withStore(snapshotter, async (store) => {
      const parent = await base(store);
      const server = createServer();
      const key = await step(store, 'change', parent, async (root) => {
        const at = (path: string) => join(root, path);
        rmSync(at('etc/gone'));
        rmSync(at('dir'), { recursive: true });
        mkdirSync(at('dir'));
        writeFileSync(at('dir/new'), 'new');
        rmSync(at('file'));
        mkdirSync(at('file'));
        writeFileSync(at('file/inside'), '');
        linkSync(at('linked'), at('linked-too'));
        writeFileSync(at('suid'), 'x'.repeat(3000));
        chownSync(at('suid'), 7, 8);
        chmodSync(at('suid'), 0o4755);
        lsetxattr(at('suid'), 'security.capability', capability);
        lsetxattr(at('suid'), 'user.note', Buffer.from('hi'));
        symlinkSync('/etc/keep', at('soft'));
        mknod(at('null'), S_IFCHR | 0o666, makedev(1, 3));
        chmodSync(at('null'), 0o666);
        mknod(at('pipe'), S_IFIFO | 0o600, 0);
        writeFileSync(at('sparse'), '');
        truncateSync(at('sparse'), 5_000_000);
        await new Promise<void>((resolve) => server.listen(at('socket'), resolve));
      });
      server.close();
      const blob = await blobOf(store, key);
      const entries = entriesOf(blob);
      const paths = [...entries.keys()];
      expect(paths).toEqual(
        [...paths].sort((a, b) => (a.replaceAll('/', '\0') < b.replaceAll('/', '\0') ? -1 : 1)),
      );
      expect(entries.get('etc/.wh.gone')).toMatchObject({ type: 'file', size: 0 });
      expect(entries.has('etc/keep')).toBe(false);
      expect(entries.get('etc')?.type).toBe('dir');
      expect(entries.get('dir/new')?.body.toString()).toBe('new');
      // Overlayfs marks the folder, a comparison finds the files: the tree is the same.
      expect(entries.has('dir/.wh..wh..opq') || entries.has('dir/.wh.deep')).toBe(true);
      expect(entries.get('file')?.type).toBe('dir');
      expect(entries.get('file/inside')?.type).toBe('file');
      expect(paths.filter((path) => path.startsWith('file/.wh'))).toEqual([]);
      expect(entries.get('linked')).toMatchObject({ type: 'file', size: 6 });
      expect(entries.get('linked-too')).toMatchObject({ type: 'hardlink', link: 'linked' });
      const suid = entries.get('suid')!;
      expect(suid).toMatchObject({ mode: 0o4755, uid: 7, gid: 8, uname: '', gname: '' });
      expect(suid.xattrs).toEqual(
        new Map([
          ['security.capability', capability],
          ['user.note', Buffer.from('hi')],
        ]),
      );
      expect(entries.get('soft')).toMatchObject({ type: 'symlink', link: '/etc/keep' });
      expect(entries.get('null')).toMatchObject({ type: 'char', devmajor: 1, devminor: 3, mode: 0o666 });
      expect(entries.get('pipe')?.type).toBe('fifo');
      expect(entries.get('sparse')?.body.equals(Buffer.alloc(5_000_000))).toBe(true);
      expect(entries.has('socket')).toBe(false);
      const listed = execFileSync('tar', ['-tf', '-'], { input: blob, encoding: 'utf8' }).trim().split('\n');
      expect(listed).toHaveLength(entries.size);
      if (snapshotter === 'overlayfs') expect(entries.has('dir/.wh..wh..opq')).toBe(true);
    }));

  test('that change nothing are empty', () =>
    withStore(snapshotter, async (store) => {
      const key = await step(store, 'same', await base(store), () => {});
      expect(entriesOf(await blobOf(store, key)).size).toBe(0);
    }));

  test('new folders hide nothing, and are not marked as if they did', () =>
    withStore(snapshotter, async (store) => {
      const key = await step(store, 'fresh', await base(store), (root) => {
        mkdirSync(join(root, 'fresh/er'), { recursive: true });
      });
      expect([...entriesOf(await blobOf(store, key)).keys()]).toEqual(['fresh', 'fresh/er']);
    }));
});

describe('blobs', () => {
  const content = Buffer.concat([randomBytes(2_500_000), Buffer.alloc(7_000_000, 'compressible text ')]);
  const big = (store: Store) =>
    step(store, 'big', undefined, (root) => {
      writeFileSync(join(root, 'big'), content);
      for (let i = 0; i < 300; i++) writeFileSync(join(root, `small-${i}`), `file ${i}`);
    });

  test.each([
    plain,
    { type: 'gzip' },
    { type: 'gzip', level: 1 },
    { type: 'zstd' },
    { type: 'zstd', level: 3 },
    { type: 'zstd', level: 9 },
  ] as const)('%o: digests hold, other programs unpack it, and twice gives the same', (compression) =>
    withStore('overlayfs', async (store) => {
      const key = await big(store);
      const hashed = await packSnapshot(store, key, { compression, store: 'hash-only', lease });
      expect(await store.content.info(hashed.descriptor.digest)).toBeUndefined();
      const made = await packSnapshot(store, key, { compression, store: 'blob', lease });
      expect(made).toEqual(hashed);
      const blob = await store.content.bytes(made.descriptor.digest);
      expect(digestOf(blob)).toBe(made.descriptor.digest);
      expect(blob.length).toBe(made.descriptor.size);
      const tar = unzip(blob);
      expect(digestOf(tar)).toBe(made.diffId);
      expect(tar.length).toBe(made.size);
      expect(entriesOf(tar).get('big')?.body.equals(content)).toBe(true);
      if (compression.type !== 'uncompressed') {
        const program = compression.type;
        const out = execFileSync(program, ['-dc'], { input: blob, maxBuffer: 1 << 26 });
        expect(digestOf(out)).toBe(made.diffId);
        expect(blob.length).toBeLessThan(3_200_000);
      }
    }),
  );

  test('work is done once: remembered on the snapshot, shared while it runs, made again when lost', () =>
    withStore('overlayfs', async (store) => {
      const key = await big(store);
      let packs = 0;
      const ingestPath = store.content.ingestPath!.bind(store.content);
      store.content.ingestPath = () => {
        packs++;
        return ingestPath();
      };
      const options = { compression: { type: 'gzip' }, store: 'blob', lease } as const;
      const [a, b] = await Promise.all([
        packSnapshot(store, key, options),
        packSnapshot(store, key, options),
      ]);
      expect(a).toEqual(b);
      await packSnapshot(store, key, options);
      expect(packs).toBe(1);
      await store.leases.removeResource(lease, { type: 'blob', id: a.descriptor.digest });
      await store.content.delete(a.descriptor.digest);
      await packSnapshot(store, key, options);
      expect(packs).toBe(2);
      expect(await store.content.info(a.descriptor.digest)).toBeDefined();
    }));

  test('a manifest’s layer that is not in content is made from the snapshot with its chain ID', () =>
    withStore('overlayfs', async (store) => {
      const top = await step(store, 'top', await big(store), (root) =>
        writeFileSync(join(root, 'top'), 'top'),
      );
      const keys = (await store.snapshots.chain(top)).map(({ key }) => key);
      expect(keys).toEqual(['big', 'top']);
      const options = { compression: plain, store: 'hash-only', lease } as const;
      const layers = await Promise.all(keys.map((key) => packSnapshot(store, key, options)));
      const diffIds = layers.map(({ diffId }) => diffId);
      await labelChain(store, keys, diffIds);
      // That the layer is known as gzip too must not confuse anybody.
      await packSnapshot(store, 'big', { ...options, compression: { type: 'gzip' } });
      for (const [i, { descriptor }] of layers.entries()) {
        await ensureBlob(store, descriptor, chainId(diffIds.slice(0, i + 1))!, { lease });
        expect(digestOf(await store.content.bytes(descriptor.digest))).toBe(descriptor.digest);
      }
      const lost = { ...layers[0]!.descriptor, digest: digestOf('lost') };
      await expect(ensureBlob(store, lost, digestOf('nowhere'), { lease })).rejects.toMatchObject({
        code: 'not-found',
      });
      await expect(ensureBlob(store, lost, diffIds[0]!, { lease })).rejects.toMatchObject({
        code: 'corrupt',
      });
    }));

  test.each(['gzip', 'zstd'] as const)(
    'a %s layer that an early release made gives the same blob again',
    (type) =>
      withStore('overlayfs', async (store) => {
        const key = await step(store, 'texts', undefined, (root) => {
          const lines = Array.from({ length: 60_000 }, (_, i) => `line ${(i * 7919) % 10_007} of ${i % 97}`);
          writeFileSync(join(root, 'text'), lines.join('\n'));
        });
        const options = { store: 'blob', lease } as const;
        const early = await packSnapshot(store, key, { ...options, compression: { type, early: true } });
        const now = await packSnapshot(store, key, { ...options, compression: { type } });
        expect(now.diffId).toBe(early.diffId);
        expect(now.descriptor.digest).not.toBe(early.descriptor.digest);
        // The name that its label has had from the beginning.
        const { labels } = (await store.snapshots.stat(key))!;
        const name = `${snapshotLabels.blobPrefix}${type}-${type === 'gzip' ? 4 : 2}`;
        expect(JSON.parse(labels[name]!).descriptor).toEqual(early.descriptor);
        await labelChain(store, [key], [now.diffId]);
        // Nor is a label needed: the layer may come from such a release elsewhere.
        await store.snapshots.setLabels(key, { [name]: undefined });
        for (const { descriptor } of [early, now]) {
          await store.leases.removeResource(lease, { type: 'blob', id: descriptor.digest });
          await store.content.delete(descriptor.digest);
          await ensureBlob(store, descriptor, now.diffId, { lease });
          expect(digestOf(await store.content.bytes(descriptor.digest))).toBe(descriptor.digest);
        }
      }),
  );

  test('rewritten times: nothing is later than the epoch, and two builds are one', async () => {
    const build = () =>
      withStore('overlayfs', async (store) => {
        const key = await step(store, 'a', undefined, (root) => {
          writeFileSync(join(root, 'old'), 'old');
          utimesSync(join(root, 'old'), 1000, 1000);
          mkdirSync(join(root, 'dir'));
          writeFileSync(join(root, 'dir/now'), 'now');
        });
        const made = await packSnapshot(store, key, {
          compression: plain,
          epoch: 5000,
          store: 'blob',
          lease,
        });
        const entries = entriesOf(await store.content.bytes(made.descriptor.digest));
        expect(entries.get('old')?.mtimeNs).toBe(1_000_000_000_000n);
        expect(entries.get('dir/now')?.mtimeNs).toBe(5_000_000_000_000n);
        expect(entries.get('dir')?.mtimeNs).toBe(5_000_000_000_000n);
        return made;
      });
    expect(await build()).toEqual(await build());
  });

  test('a store that takes no files gets the blob as a stream', () =>
    withStore('overlayfs', async (store) => {
      const key = await big(store);
      const other = withContent(store, { adopt: undefined });
      const made = await packSnapshot(other, key, { compression: { type: 'zstd' }, store: 'blob', lease });
      expect(digestOf(await store.content.bytes(made.descriptor.digest))).toBe(made.descriptor.digest);
    }));

  test('given up, it leaves nothing behind', () =>
    withStore('overlayfs', async (store) => {
      const key = await big(store);
      const controller = new AbortController();
      const packing = packSnapshot(store, key, {
        compression: { type: 'gzip', level: 9 },
        store: 'blob',
        lease,
        signal: controller.signal,
      });
      setTimeout(() => controller.abort(), 30);
      await expect(packing).rejects.toMatchObject({ code: 'canceled' });
      expect(readdirSync(join(store.runDir, 'new'))).toEqual([]);
      expect(await store.content.list()).toEqual([]);
      await store.snapshots.remove(key);
    }));

  test('given up by the build that began it, it is there for the other that wants it', () =>
    withStore('overlayfs', async (store) => {
      const key = await big(store);
      const compression = { type: 'gzip', level: 9 } as const;
      await store.leases.create('first');
      const stop = new AbortController();
      const begun = packSnapshot(store, key, {
        compression,
        store: 'blob',
        lease: 'first',
        signal: stop.signal,
      });
      const other = packSnapshot(store, key, { compression, store: 'blob', lease });
      setTimeout(() => stop.abort(), 30);
      await expect(begun).rejects.toMatchObject({ code: 'canceled' });
      await store.leases.delete('first');
      const { descriptor } = await other;
      await store.gc();
      expect(digestOf(await store.content.bytes(descriptor.digest))).toBe(descriptor.digest);
    }));
});
