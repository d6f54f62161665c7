/**
 * The store under a build fails: blobs and layers that are gone or damaged are made or fetched again, and where that
 * cannot be, the client reads which they are; a full disk says which disk, how full and what to do; a containerd that
 * goes away in the middle is waited for, or named.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { specOfMounts } from '../../../../src/fs/view.ts';
import { MNT_DETACH, mount, umount } from '../../../../src/linux/libc.ts';
import { chainId, hex } from '../../../../src/oci/digest.ts';
import type { Digest } from '../../../../src/oci/types.ts';
import { ApiBuilds, shellContext } from '../../../kit/api-builds.ts';
import { imageOf, putImage, type TestImage, tarOf } from '../../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../../kit/registry.ts';
import { type OneStore, onStores } from '../../../kit/stores.ts';

/** The file of a blob, wherever the store keeps it. */
function blobFile(builds: ApiBuilds, store: OneStore, digest: Digest): string {
  const name = hex(digest);
  return store.kind === 'local'
    ? join(builds.daemon.engine.store.root, 'blobs/sha256', name.slice(0, 2), name)
    : join(store.containerd().root, 'io.containerd.content.v1.content/blobs/sha256', name);
}

/** What may become of a blob's file. */
const damages: [string, (file: string) => void][] = [
  ['gone', (file) => rmSync(file)],
  ['cut short', (file) => truncateSync(file, 100)],
  [
    'of other bytes',
    (file) => {
      const bytes = readFileSync(file);
      const at = bytes.length >> 1;
      bytes[at] = (bytes[at] ?? 0) ^ 0xff;
      const { mode } = statSync(file);
      rmSync(file);
      writeFileSync(file, bytes, { mode });
    },
  ],
];

onStores('a store that was damaged', (store) => {
  let builds: ApiBuilds;
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
    builds = await ApiBuilds.open(store);
  });
  afterAll(async () => {
    await builds.stop();
    await registry.stop();
  });
  afterEach(async () => {
    expect(await builds.leftBehind()).toEqual([]);
  });

  let images = 0;
  /** Pulls an image that was never here before: a file `/f` in one layer. */
  const pulled = async (): Promise<{ name: string; image: TestImage }> => {
    const bytes = Buffer.alloc(64 << 10, `image ${++images} of ${store.kind}`);
    for (let i = 0; i < bytes.length; i += 16) bytes.writeInt32LE((i * 2654435761) | 0, i);
    const image = imageOf([tarOf({ f: bytes })]);
    const name = await putImage(registry.host, `image:${images}`, image);
    const answer = await builds.daemon.ask('POST', `/images/create?fromImage=${name}`);
    expect(answer.lines().at(-1)).toHaveProperty('status');
    return { name, image };
  };

  describe.each(damages)('a blob is %s', (_, damage) => {
    test.each(['layer', 'config', 'manifest'])(
      'the %s of a pulled image: it is fetched again',
      async (what) => {
        const { name, image } = await pulled();
        const digests = { layer: image.layers[0]?.digest, config: image.configDigest };
        damage(blobFile(builds, store, digests[what as 'layer'] ?? image.manifest.digest));
        await builds.ok(`FROM ${name}\nCOPY --from=${name} /f /g\n`);
        expect((await builds.daemon.engine.store.verify()).problems).toEqual([]);
        expect((await builds.daemon.ask('GET', '/images/json')).status).toBe(200);
      },
    );

    test('the config or manifest of an image that only the store has: it says which image, and a rebuild mends it', async () => {
      const context = { Dockerfile: 'FROM scratch\nCOPY f /\n', f: String(damage) };
      const { imageId } = await builds.ok(context, 't=only-here:1');
      damage(blobFile(builds, store, imageId as Digest));
      expect((await builds.daemon.ask('GET', '/images/json')).status).toBe(200);
      // Nobody else has it; the registry of this name is not reached from here.
      const error = await builds.error('FROM only-here:1\nLABEL a=b\n');
      expect(error).toContain('(Dockerfile:1)');
      expect(error).toContain(
        'hint: The store has only-here:1, but its manifest or config is gone or damaged',
      );
      expect((await builds.ok(context, 't=only-here:1')).imageId).toBe(imageId);
      await builds.ok('FROM only-here:1\nLABEL a=b\n');
      expect((await builds.daemon.engine.store.verify()).problems).toEqual([]);
    });
  });

  /** The folder of a snapshot's own layer. */
  const folderOf = async (key: string) => {
    const view = await builds.daemon.engine.store.snapshots.view(key);
    await view.release();
    const spec = specOfMounts(view.mounts);
    if (spec.kind !== 'layers') throw new Error(`the snapshot ${key} has no folder`);
    return spec.dirs[0] as string;
  };
  /** The snapshot that a cached step has made. */
  const snapshotOf = (step: string): string => {
    const { cache } = builds.daemon.engine;
    const [result] = cache.list().find(({ description }) => description.includes(step))?.results ?? [];
    if (result?.kind !== 'snapshot') throw new Error(`there is no record of ${step}`);
    return result.key;
  };

  test.each([
    ['the last step', 'echo two'],
    ['a step in the middle', 'echo one'],
    ['the first step', 'COPY rootfs /'],
  ])('the layer of a cached step is gone (%s): it is built again, and what stands on it', async (_, step) => {
    const context = shellContext(
      'RUN echo one > /one\nRUN cat /one > /two && echo two >> /two\nRUN cat /two > /three',
      {},
      ['cat'],
    );
    const first = await builds.ok(context, 't=layers:1');
    rmSync(join(await folderOf(snapshotOf(step)), '..'), { recursive: true });
    const again = await builds.ok(context, 't=layers:1');
    expect(again.error).toBeUndefined();
    const out = await builds.ok(`FROM layers:1\nRUN cat /three && echo ${Math.random()}\n`);
    expect(out.log).toContain('one\ntwo\n');
    expect(first.imageId).toBeDefined();
    expect((await builds.ok(context)).cached.join()).toContain('RUN cat /two > /three');
  });

  test('the layer of a base image is gone: it is unpacked again from its blob', async () => {
    const { name, image } = await pulled();
    await builds.ok(`FROM ${name}\nCOPY --from=${name} /f /once\n`);
    const chain = chainId(image.config.rootfs.diff_ids) as Digest;
    const found = await builds.daemon.engine.store.snapshots.byChain(chain);
    rmSync(join(await folderOf(found?.key ?? ''), '..'), { recursive: true });
    await builds.ok(`FROM ${name}\nCOPY --from=${name} /f /twice\n`);
  });

  test('the layer of an image that only the store has is gone: it says which image', async () => {
    const context = shellContext('RUN echo lonely > /f');
    await builds.ok(context, 't=lonely:1');
    const key = snapshotOf('RUN echo lonely');
    rmSync(join(await folderOf(key), '..'), { recursive: true });
    if (store.kind === 'local') {
      const error = await builds.error('FROM lonely:1\nRUN echo again\n');
      expect(error).toMatch(/\(Dockerfile:[12]\)/);
      expect(error).toContain('hint: The store has lonely:1, but a layer of it is gone or damaged');
    } else await builds.ok('FROM lonely:1\nRUN echo again\n'); // its blobs are in content
    await builds.ok(context, 't=lonely:1');
    await builds.ok('FROM lonely:1\nRUN echo again\n');
  });

  test('the cache’s records are damaged: a daemon on them says which file, and starts without it', async () => {
    const own = await ApiBuilds.open(store);
    try {
      await own.ok(shellContext('RUN echo records'), 't=records:1');
      const file = join(own.daemon.engine.store.root, 'cache.db');
      await own.daemon.halt();
      writeFileSync(file, 'this is no database'.repeat(500));
      for (const suffix of ['-wal', '-shm']) rmSync(file + suffix, { force: true });
      await expect(own.daemon.start()).rejects.toMatchObject({
        code: 'corrupt',
        hop: 'cache',
        message: expect.stringContaining('the cache records are damaged'),
        hint: expect.stringContaining(`Move ${file} away`),
      });
      rmSync(file);
      await own.daemon.start();
      await own.ok(shellContext('RUN echo records'), 't=records:1');
    } finally {
      await own.stop();
    }
  });
});

/** A daemon whose root (and containerd's data) is on a disk of its own, of so many MB. */
async function onSmallDisk(
  store: OneStore,
  megabytes: number,
): Promise<{ builds: ApiBuilds; disks: string[]; stop(): Promise<void> }> {
  const disk = execFileSync('mktemp', ['-d', '/tmp/drydock-disk-XXXXXX'], { encoding: 'utf8' }).trim();
  const places = [disk];
  if (store.kind === 'containerd') {
    const { root } = store.containerd();
    await store.containerd().kill('SIGTERM');
    places.push(join(root, 'io.containerd.content.v1.content'));
    places.push(join(root, 'io.containerd.snapshotter.v1.overlayfs', 'snapshots'));
  }
  for (const place of places) {
    mkdirSync(place, { recursive: true });
    // containerd's blobs have less room, so that they are what does not fit.
    const size = /content/.test(place) ? megabytes / 3 : megabytes;
    mount('tmpfs', place, 'tmpfs', 0, `size=${size}m`);
  }
  if (store.kind === 'containerd') await store.containerd().start();
  const builds = await ApiBuilds.open(store, { root: join(disk, 'root') });
  return {
    builds,
    disks: [...places],
    async stop() {
      await builds.stop();
      if (store.kind === 'containerd') await store.containerd().kill();
      for (const place of places.reverse()) umount(place, MNT_DETACH);
      rmSync(disk, { recursive: true, force: true });
    },
  };
}

onStores('a disk that gets full', (store) => {
  let small: Awaited<ReturnType<typeof onSmallDisk>>;
  let builds: ApiBuilds;
  beforeAll(async () => {
    small = await onSmallDisk(store, 48);
    builds = small.builds;
  });
  afterAll(() => small.stop());
  afterEach(async () => {
    expect(await builds.tags()).not.toContain('half:1');
    expect(await builds.leftBehind()).toEqual([]);
    // The next build works.
    expect((await builds.daemon.ask('POST', '/build/prune?all=1')).status).toBe(200);
    await builds.ok(shellContext(`RUN echo ${Math.random()} > /f`));
  });
  const big = (megabytes: number) => {
    const bytes = Buffer.alloc(megabytes << 20);
    for (let i = 0; i < bytes.length; i += 997)
      bytes.writeUInt32LE((Math.random() * 2 ** 32) >>> 0, Math.min(i, bytes.length - 4));
    return bytes;
  };
  const saysFull = (error: string) => {
    expect(error).toMatch(/no space left/);
    expect(error).toMatch(/hint: .*drydock prune/);
    expect(small.disks.some((disk) => error.includes(`(${disk}`))).toBe(true);
    expect(error).toMatch(/has room for [\d.]+ [kM]?B of (50\.3|16\.8) MB/);
  };

  test('while the context comes', async () => {
    const error = await builds.error({ Dockerfile: 'FROM scratch\n', big: big(60) }, 't=half:1');
    expect(error).toMatch(/^failed to build: \[internal\] load build context: /);
    expect(error).toMatch(/at hop: (context|host)/);
    saysFull(error);
  });

  test('while a COPY copies', async () => {
    const error = await builds.error(
      shellContext('COPY big /a\nCOPY big /b\nCOPY big /c', { big: big(16) }),
      't=half:1',
    );
    expect(error).toMatch(/^failed to build: \[\d\/4\] COPY big \/[abc]: /);
    expect(error).toMatch(/\(Dockerfile:[345]\)/);
    saysFull(error);
  });

  test('while a RUN writes: the step’s own failure, and a hint why', async () => {
    const { error, log } = await builds.build(
      shellContext('RUN dd if=/dev/zero of=/big bs=1M count=100', {}, ['dd']),
      't=half:1',
    );
    expect(error).toContain('exit code: 1');
    expect(log).toContain('No space left on device');
    expect(error).toContain('(Dockerfile:3)');
    // The step's files are where the store keeps layers; what is asked is where it keeps blobs.
    if (store.kind === 'local') {
      expect(error).toMatch(/hint: The disk is full: \S+ has room for .* of (50\.3|16\.8) MB/);
    }
  });

  test('while the image is exported', async () => {
    const outputs = encodeURIComponent(
      JSON.stringify([
        { Type: 'image', Attrs: { name: 'half:1', compression: 'uncompressed', push: 'true' } },
      ]),
    );
    const error = await builds.error(
      { Dockerfile: 'FROM scratch\nCOPY big /\n', big: big(26) },
      `outputs=${outputs}`,
    );
    expect(error).toMatch(/^failed to build: exporting to image: /);
    saysFull(error);
  });

  test('while an image is loaded or imported: no part of it stays', async () => {
    for (const path of ['/images/load?quiet=1', '/images/create?fromSrc=-&repo=half&tag=1']) {
      const { status, text } = await builds.daemon.ask('POST', path, {
        body: path.includes('load')
          ? tarOf({ [`blobs/sha256/${'a'.repeat(64)}`]: big(60) })
          : tarOf({ x: big(60) }),
      });
      // What is wrong with a load is in its stream.
      expect([status, path]).toEqual([path.includes('load') ? 200 : 507, path]);
      expect(text).toMatch(/no space left/);
      expect(text).toMatch(/prune/);
    }
  });
});
