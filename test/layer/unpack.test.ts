import { execFileSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import zlib from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { packSnapshot } from '../../src/layer/blobs.ts';
import { unpackLayer } from '../../src/layer/unpack.ts';
import { lgetxattr } from '../../src/linux/libc.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { closePool } from '../../src/workers/pool.ts';
import { entriesOf, lease, withContent, withStore } from './kit.ts';
import { see, tar, time, unpack } from './tars.ts';

afterAll(closePool);

describe.each(['overlayfs', 'native'] as const)('on %s', (snapshotter) => {
  test('files come with owners, modes, times, links, attributes, devices', () =>
    withStore(snapshotter, async (store) => {
      const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex');
      const key = await unpack(
        store,
        undefined,
        zlib.gzipSync(
          tar(
            { path: 'bin', type: 'dir', mode: 0o2755, gid: 50 },
            {
              path: 'bin/su',
              body: 'su',
              mode: 0o4755,
              uid: 3,
              gid: 4,
              xattrs: [
                ['security.capability', capability],
                ['user.a', Buffer.from('b')],
                ['trusted.overlay.redirect', Buffer.from('/etc')],
              ],
            },
            { path: 'bin/hard', type: 'hardlink', link: 'bin/su' },
            { path: 'bin/soft', type: 'symlink', link: '../etc/x', uid: 5 },
            { path: 'null', type: 'char', devmajor: 1, devminor: 3, mode: 0o666 },
            { path: 'pipe', type: 'fifo' },
            { path: 'no/parents/named', body: 'x' },
          ),
        ),
      );
      await see(store, key, (root) => {
        const su = statSync(join(root, 'bin/su'), { bigint: true });
        expect([su.mode & 0o7777n, su.uid, su.gid, su.mtimeNs, su.nlink]).toEqual([
          0o4755n,
          3n,
          4n,
          time,
          2n,
        ]);
        expect(lgetxattr(join(root, 'bin/su'), 'security.capability')).toEqual(capability);
        expect(lgetxattr(join(root, 'bin/su'), 'user.a')?.toString()).toBe('b');
        expect(execFileSync('getcap', [join(root, 'bin/su')], { encoding: 'utf8' })).toContain(
          'cap_net_bind_service',
        );
        expect(readlinkSync(join(root, 'bin/soft'))).toBe('../etc/x');
        expect(lstatSync(join(root, 'bin/soft')).uid).toBe(5);
        const bin = statSync(join(root, 'bin'), { bigint: true });
        expect([bin.mode & 0o7777n, bin.gid, bin.mtimeNs]).toEqual([0o2755n, 50n, time]);
        expect(statSync(join(root, 'null')).isCharacterDevice()).toBe(true);
        expect(statSync(join(root, 'pipe')).isFIFO()).toBe(true);
        expect(readFileSync(join(root, 'no/parents/named'), 'utf8')).toBe('x');
        expect(statSync(join(root, 'no/parents')).mode & 0o7777).toBe(0o755);
      });
    }));

  test('whiteouts and opaque folders hide what is below, not what the layer itself brings', () =>
    withStore(snapshotter, async (store) => {
      const below = await unpack(
        store,
        undefined,
        tar(
          { path: 'a/gone', body: '1' },
          { path: 'a/stays', body: '1' },
          { path: 'b/old', body: '1' },
          { path: 'b/sub/old', body: '1' },
          { path: 'c/old', body: '1' },
          { path: 'd', body: '1' },
        ),
      );
      const key = await unpack(
        store,
        below,
        tar(
          { path: 'a/.wh.gone' },
          { path: 'b/new', body: '2' },
          { path: 'b/.wh..wh..opq' },
          { path: '.wh.c' },
          { path: 'c', type: 'dir' },
          { path: 'c/new', body: '2' },
          { path: 'd', type: 'dir' },
          { path: 'd/new', body: '2' },
          { path: 'a/.wh..wh.plnk', type: 'dir' },
        ),
      );
      await see(store, key, (root) => {
        expect(readdirSync(join(root, 'a'))).toEqual(['stays']);
        expect(readdirSync(join(root, 'b'))).toEqual(['new']);
        expect(readdirSync(join(root, 'c'))).toEqual(['new']);
        expect(readdirSync(join(root, 'd'))).toEqual(['new']);
      });
    }));

  test('what a layer leaves out it takes from below: folders’ metadata, link targets, linked folders', () =>
    withStore(snapshotter, async (store) => {
      const below = await unpack(
        store,
        undefined,
        tar(
          { path: 'var', type: 'dir', mode: 0o1777, uid: 9 },
          { path: 'var/file', body: 'data', uid: 6 },
          { path: 'usr/lib', type: 'dir' },
          { path: 'lib', type: 'symlink', link: 'usr/lib' },
        ),
      );
      const key = await unpack(
        store,
        below,
        tar(
          { path: 'var/new', body: 'x' },
          { path: 'var/hard', type: 'hardlink', link: 'var/file' },
          { path: 'lib/x', body: 'x' },
        ),
      );
      await see(store, key, (root) => {
        expect(statSync(join(root, 'var'))).toMatchObject({ uid: 9 });
        expect(statSync(join(root, 'var')).mode & 0o7777).toBe(0o1777);
        const file = statSync(join(root, 'var/file'));
        expect(statSync(join(root, 'var/hard'))).toMatchObject({ ino: file.ino, uid: 6, nlink: 2 });
        expect(readFileSync(join(root, 'usr/lib/x'), 'utf8')).toBe('x');
        expect(lstatSync(join(root, 'lib')).isSymbolicLink()).toBe(true);
      });
    }));

  test('a later entry takes the place of an earlier one of any kind', () =>
    withStore(snapshotter, async (store) => {
      const key = await unpack(
        store,
        undefined,
        tar(
          { path: 'x', type: 'dir' },
          { path: 'x/in', body: '1' },
          { path: 'x', body: 'file now' },
          { path: 'y', body: 'file' },
          { path: 'y', type: 'dir', mode: 0o700 },
          { path: 'y/in', body: '2' },
          { path: 'z', body: 'one' },
          { path: 'z', type: 'symlink', link: 'y' },
        ),
      );
      await see(store, key, (root) => {
        expect(readFileSync(join(root, 'x'), 'utf8')).toBe('file now');
        expect(readFileSync(join(root, 'z/in'), 'utf8')).toBe('2');
      });
    }));
});

test('a packed layer unpacks to what it was, and packs to the same bytes again', () =>
  withStore('overlayfs', async (store) => {
    const data = tar(
      { path: 'd', type: 'dir' },
      { path: 'd/f', body: 'f', xattrs: [['user.k', Buffer.from('v')]] },
      { path: 'd/g', type: 'hardlink', link: 'd/f' },
      { path: 'l', type: 'symlink', link: 'd/f', mode: 0o777 },
    );
    const key = await unpack(store, undefined, data);
    const options = { compression: { type: 'uncompressed' }, store: 'blob', lease } as const;
    const packed = await packSnapshot(store, key, options);
    expect(packed.diffId).toBe(digestOf(data));
    expect(entriesOf(await store.content.bytes(packed.descriptor.digest)).size).toBe(4);
  }));

test('sparse files stay sparse', () =>
  withStore('overlayfs', async (store) => {
    const dir = mkdtempSync(join(tmpdir(), 'drydock-sparse-'));
    try {
      execFileSync(
        'sh',
        [
          '-c',
          'truncate -s 64M holes && printf end | dd of=holes bs=1 seek=50000000 conv=notrunc 2>/dev/null',
        ],
        { cwd: dir },
      );
      const data = execFileSync('tar', ['-C', dir, '-S', '-cf', '-', 'holes'], { maxBuffer: 1 << 27 });
      const key = await unpack(store, undefined, data);
      await see(store, key, (root) => {
        const st = statSync(join(root, 'holes'));
        expect(st.size).toBe(64 << 20);
        expect(st.blocks * 512).toBeLessThan(1 << 20);
        expect(readFileSync(join(root, 'holes')).toString('latin1', 50_000_000, 50_000_003)).toBe('end');
      });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }));

test('a store without files streams the blob, and a broken stream is its own error', () =>
  withStore('overlayfs', async (store) => {
    const data = tar(...Array.from({ length: 50 }, (_, i) => ({ path: `f${i}`, body: 'x'.repeat(100_000) })));
    const digest = await store.content.put(data, { lease });
    const streaming = withContent(store, { localPath: undefined });
    const mounts = await store.snapshots.prepare('streamed', undefined, { lease });
    expect((await unpackLayer(streaming, mounts, { digest, size: data.length })).diffId).toBe(digest);
    async function* broken() {
      yield data.subarray(0, 100_000);
      throw new Error('the disk is on fire');
    }
    const burning = withContent(store, { localPath: undefined, read: async () => Readable.from(broken()) });
    const again = await store.snapshots.prepare('broken', undefined, { lease });
    await expect(unpackLayer(burning, again, { digest, size: data.length })).rejects.toThrowError(
      'the disk is on fire',
    );
  }));

test('given up while its source has stalled, it ends', () =>
  withStore('overlayfs', async (store) => {
    const data = tar({ path: 'f', body: 'x'.repeat(100_000) });
    const digest = await store.content.put(data, { lease });
    async function* stalling() {
      yield data.subarray(0, 5000);
      await new Promise(() => {});
    }
    const stalled = withContent(store, { localPath: undefined, read: async () => Readable.from(stalling()) });
    const mounts = await store.snapshots.prepare('stalled', undefined, { lease });
    const signal = AbortSignal.timeout(100);
    await expect(
      unpackLayer(stalled, mounts, { digest, size: data.length }, { signal }),
    ).rejects.toMatchObject({
      code: 'canceled',
    });
  }));
