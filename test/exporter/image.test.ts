import { execFileSync } from 'node:child_process';
import { utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createExporter } from '../../src/exporter/exporters.ts';
import { listImages } from '../../src/images/list.ts';
import { ensureBlob } from '../../src/layer/blobs.ts';
import { chainId, digestOf } from '../../src/oci/digest.ts';
import {
  type Descriptor,
  type ImageConfig,
  type Index,
  type Manifest,
  mediaTypes,
} from '../../src/oci/types.ts';
import type { Store } from '../../src/store/store.ts';
import { closePool } from '../../src/workers/pool.ts';
import { imageOf, putImage, tarOf } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { entriesOf, lease, step, withStore } from '../layer/kit.ts';
import { amd64, arm64, refsOf, registry, run, solved } from './kit.ts';

afterAll(async () => {
  registry.close();
  await closePool();
});

const name = 'docker.io/library/app:1';

async function twoSteps(store: Store): Promise<string> {
  const below = await step(store, 'one', undefined, (root) => {
    writeFileSync(join(root, 'a'), 'a');
    utimesSync(join(root, 'a'), 1000, 1000);
  });
  return step(store, 'two', below, (root) => writeFileSync(join(root, 'b'), 'b'));
}

async function read<T>(store: Store, { digest }: Descriptor): Promise<T> {
  return JSON.parse((await store.content.bytes(digest)).toString()) as T;
}

describe('an image in the store', () => {
  test.each([
    ['its own', { 'source-date-epoch': '5' }, 5],
    ["the build's", {}, 7],
  ])('a shared store is told the date that it was given: %s', (_, attrs, date) =>
    withStore('overlayfs', async (store) => {
      const dates: (number | undefined)[] = [];
      const put = store.images.put.bind(store.images);
      store.images.put = (...args) => {
        dates.push(args[3]);
        return put(...args);
      };
      const results = [solved(refsOf(store).snapshot(await twoSteps(store)))];
      await run(store, 'image', attrs, { results, names: [name], sourceDateEpoch: 7 });
      expect(dates).toEqual([date]);
    }),
  );

  test('has a manifest, a finished config and a name; layers are hashed, and made when somebody needs them', () =>
    withStore('overlayfs', async (store) => {
      const results = [solved(refsOf(store).snapshot(await twoSteps(store)))];
      const out = await run(store, 'image', {}, { results, names: [name] });
      const image = await store.images.get(name);
      expect(image?.target).toEqual(out.descriptor);
      const manifest = await read<Manifest>(store, out.descriptor!);
      const config = await read<ImageConfig>(store, manifest.config);
      expect(out.imageId).toBe(manifest.config.digest);
      expect(manifest.layers.map(({ digest }) => digest)).toEqual(config.rootfs.diff_ids);
      expect(manifest.layers[0]?.mediaType).toBe('application/vnd.oci.image.layer.v1.tar');
      expect(out.size).toBe((await listImages(store))[0]?.size);
      expect(out.size).toBeGreaterThan(0);
      expect(await store.content.info(manifest.layers[0]!.digest)).toBeUndefined();
      expect(config.history?.map((h) => h.empty_layer ?? false)).toEqual([false, true, false]);
      expect(config.history?.every((h) => h.created !== undefined)).toBe(true);
      expect(config.created).toBe(config.history?.at(-1)?.created);
      expect(config.config?.Cmd).toEqual(['sh']);
      expect(out.metadata).toMatchObject({
        'containerimage.digest': out.descriptor?.digest,
        'containerimage.config.digest': out.imageId,
        'image.name': name,
        'containerimage.descriptor': { annotations: { 'config.digest': out.imageId }, platform: amd64 },
      });
      expect(out.statuses).toEqual([
        'exporting layers',
        `exporting manifest ${out.descriptor?.digest}`,
        `exporting config ${out.imageId}`,
        `naming to ${name}`,
      ]);
      expect(out.open).toEqual([]);
      // The image alone keeps its snapshots.
      await store.leases.delete(lease);
      await store.gc();
      await store.leases.create('later');
      for (const [i, layer] of manifest.layers.entries()) {
        await ensureBlob(store, layer, chainId(config.rootfs.diff_ids.slice(0, i + 1))!, { lease: 'later' });
        expect(digestOf(await store.content.bytes(layer.digest))).toBe(layer.digest);
      }
    }));

  test('exported twice is the same image', () =>
    withStore('overlayfs', async (store) => {
      const results = [solved(refsOf(store).snapshot(await twoSteps(store)))];
      const a = await run(store, 'image', {}, { results, names: [name] });
      const b = await run(store, 'image', {}, { results, names: [name] });
      expect(b.descriptor).toEqual(a.descriptor);
    }));

  test('without a name is kept as a dangling one; name-canonical adds the digest', () =>
    withStore('overlayfs', async (store) => {
      const results = [solved(undefined, { history: [] })];
      const { descriptor } = await run(store, 'image', {}, { results });
      expect((await store.images.list()).map((image) => image.name)).toEqual([
        `moby-dangling@${descriptor?.digest}`,
      ]);
      await run(store, 'image', { 'name-canonical': 'true' }, { results, names: [name] });
      expect(await store.images.get(`docker.io/library/app@${descriptor?.digest}`)).toBeDefined();
    }));

  test('history fits the layers: entries too many are empty, missing ones are added', () =>
    withStore('overlayfs', async (store) => {
      const ref = refsOf(store).snapshot(await twoSteps(store));
      const many = [solved(ref, { history: ['a', 'b', 'c'].map((created_by) => ({ created_by })) })];
      const few = [solved(ref, { history: [{ created_by: 'a' }] })];
      const historyOf = async (results: typeof many) => {
        const { descriptor } = await run(store, 'image', {}, { results, names: [name] });
        return (await read<ImageConfig>(store, (await read<Manifest>(store, descriptor!)).config)).history;
      };
      expect((await historyOf(many))?.map((h) => h.empty_layer ?? false)).toEqual([false, false, true]);
      expect(await historyOf(few)).toHaveLength(2);
    }));

  test('several platforms make an index; annotations go where they are told', () =>
    withStore('overlayfs', async (store) => {
      const ref = refsOf(store).snapshot(await twoSteps(store));
      const attrs = {
        'annotation.a': '1',
        'annotation-manifest[linux/arm64].b': '2',
        'annotation-index.c': '3',
        'annotation-manifest-descriptor.d': '4',
      };
      const results = [solved(ref), solved(ref, {}, arm64)];
      const { descriptor } = await run(store, 'image', attrs, { results, names: [name] });
      const index = await read<Index>(store, descriptor!);
      expect(index.annotations).toEqual({ c: '3' });
      expect(index.manifests.map(({ platform }) => platform)).toEqual([amd64, arm64]);
      expect(index.manifests[0]?.annotations).toEqual({ d: '4' });
      const manifests = await Promise.all(index.manifests.map((child) => read<Manifest>(store, child)));
      expect(manifests.map(({ annotations }) => annotations)).toEqual([{ a: '1' }, { a: '1', b: '2' }]);
    }));

  test('a frontend’s annotations count, below the output’s; a list of one platform is an index', () =>
    withStore('overlayfs', async (store) => {
      const ref = refsOf(store).snapshot(await twoSteps(store));
      const annotations = { 'annotation.a': 'frontend', 'annotation-manifest[linux/amd64].b': 'frontend' };
      const request = { results: [solved(ref)], names: [name], annotations, index: true, dockerTypes: true };
      const { descriptor } = await run(store, 'image', { 'annotation.a': 'output' }, request);
      const index = await read<Index>(store, descriptor!);
      expect([index.mediaType, index.manifests[0]?.platform]).toEqual([mediaTypes.dockerIndex, amd64]);
      const { annotations: found } = await read<Manifest>(store, index.manifests[0]!);
      expect(found).toEqual({ a: 'output', b: 'frontend' });
      // Docker's types have no place for an index's own.
      const noted = await run(store, 'image', { 'annotation-index.c': '1' }, request);
      expect(await read<Index>(store, noted.descriptor!)).toMatchObject({
        mediaType: mediaTypes.ociIndex,
        annotations: { c: '1' },
      });
      await expect(run(store, 'image', { 'annotation[linux/arm64].d': '1' }, request)).rejects.toMatchObject({
        code: 'invalid',
        message: 'invalid annotation: no platform linux/arm64 found in source',
      });
    }));

  test('compression makes real blobs, oci-mediatypes=false docker’s types', () =>
    withStore('overlayfs', async (store) => {
      const results = [solved(refsOf(store).snapshot(await twoSteps(store)))];
      const attrs = { compression: 'gzip', 'compression-level': '9', 'oci-mediatypes': 'false' };
      const { descriptor } = await run(store, 'image', attrs, { results, names: [name] });
      expect(descriptor?.mediaType).toBe('application/vnd.docker.distribution.manifest.v2+json');
      const manifest = await read<Manifest>(store, descriptor!);
      expect(manifest.config.mediaType).toBe('application/vnd.docker.container.image.v1+json');
      for (const layer of manifest.layers) {
        expect(layer.mediaType).toBe('application/vnd.docker.image.rootfs.diff.tar.gzip');
        expect(digestOf(await store.content.bytes(layer.digest))).toBe(layer.digest);
      }
      await store.leases.delete(lease);
      await store.gc();
      expect(await store.content.info(manifest.layers[0]!.digest)).toBeDefined();
    }));
});

test.each(['uncompressed', 'gzip', 'zstd'])(
  'SOURCE_DATE_EPOCH and rewrite-timestamp: two builds, one digest (%s)',
  async (compression) => {
    const build = () =>
      withStore('overlayfs', async (store) => {
        const results = [solved(refsOf(store).snapshot(await twoSteps(store)))];
        const attrs = { 'rewrite-timestamp': 'true', compression };
        const { descriptor } = await run(store, 'image', attrs, {
          results,
          names: [name],
          sourceDateEpoch: 5000,
        });
        const manifest = await read<Manifest>(store, descriptor!);
        const config = await read<ImageConfig>(store, manifest.config);
        expect(config.created).toBe('1970-01-01T01:23:20Z');
        const entries = entriesOf(await store.content.bytes(manifest.layers[1]!.digest));
        expect(entries.get('b')?.mtimeNs).toBe(5_000_000_000_000n);
        return descriptor;
      });
    expect(await build()).toEqual(await build());
  },
);

describe('with a registry', () => {
  let host: TestRegistry;
  beforeAll(async () => {
    host = await startRegistry();
  });
  afterAll(() => host.stop());

  const base = imageOf([tarOf({ etc: { dir: true }, 'etc/base': 'base' })]);
  async function onBase(store: Store, repository: string, image = base) {
    const from = await putImage(host.host, `${repository}:1`, image);
    const layers = image.layers.map((descriptor, i) => ({
      descriptor,
      diffId: image.config.rootfs.diff_ids[i]!,
    }));
    const ref = refsOf(store).image(from, layers);
    return { from, ref };
  }
  const inspect = (ref: string) => {
    const raw = execFileSync('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${ref}`], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return { digest: digestOf(raw), layers: (JSON.parse(raw.toString()) as Manifest).layers };
  };

  test('push sends gzip layers, and the base’s own as they are', () =>
    withStore('overlayfs', async (store) => {
      const { ref } = await onBase(store, 'team/base');
      const key = await step(store, 'top', await ref.snapshot({ lease }), (root) =>
        writeFileSync(join(root, 'x'), 'x'),
      );
      const to = `${host.host}/team/app:1`;
      const results = [solved(refsOf(store).snapshot(key))];
      const out = await run(store, 'image', { push: 'true' }, { results, names: [to] });
      const seen = inspect(to);
      expect(seen.digest).toBe(out.descriptor?.digest);
      expect(seen.layers[0]?.digest).toBe(base.layers[0]?.digest);
      expect(seen.layers[1]?.mediaType).toBe('application/vnd.oci.image.layer.v1.tar+gzip');
      expect((await store.images.get(to))?.target.digest).toBe(seen.digest);
      expect(out.statuses).toContain('pushing layers');
      expect(out.open).toEqual([]);
    }));

  test('an image that was published uncompressed is pushed elsewhere as it is', () =>
    withStore('overlayfs', async (store) => {
      const plain = imageOf([tarOf({ 'etc/plain': 'plain' })], { uncompressed: true });
      const { ref } = await onBase(store, 'team/plain', plain);
      const to = `${host.host}/other/plain:1`;
      await run(store, 'image', { push: 'true' }, { results: [solved(ref)], names: [to] });
      expect(inspect(to).layers).toEqual(plain.layers);
    }));

  test('a foreign layer comes from its own URLs; it is pushed as an ordinary one unless told otherwise', async () => {
    const served = new Map<string, Buffer>();
    const elsewhere = createServer((req, res) => {
      const bytes = served.get(req.url ?? '');
      res.writeHead(bytes === undefined ? 404 : 200).end(bytes);
    });
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
    const { port } = elsewhere.address() as AddressInfo;
    const foreign = imageOf([tarOf({ 'etc/foreign': 'f' }), tarOf({ 'etc/own': 'o' })], {
      urls: (digest) => ['http://127.0.0.1:1/gone', `http://127.0.0.1:${port}/${digest}`],
    });
    const [layer, own] = foreign.layers as [Descriptor, Descriptor];
    served.set(`/${layer.digest}`, foreign.blobs.get(layer.digest)!);
    foreign.blobs.delete(layer.digest);
    try {
      await withStore('overlayfs', async (store) => {
        const from = await putImage(host.host, 'team/foreign:1', foreign);
        const layers = foreign.layers.map((descriptor, i) => ({
          descriptor,
          diffId: foreign.config.rootfs.diff_ids[i]!,
        }));
        const results = [solved(refsOf(store).image(from, layers))];
        const pushed = async (to: string, attrs: Record<string, string>) => {
          await run(store, 'image', { push: 'true', ...attrs }, { results, names: [`${host.host}/${to}`] });
          return inspect(`${host.host}/${to}`).layers;
        };
        const kept = await pushed('foreign/kept:1', { 'prefer-nondist-layers': 'true' });
        expect(kept).toEqual([layer, own]);
        expect(await registry.hasBlob(`${host.host}/foreign/kept:1`, layer.digest)).toBe(false);
        const { urls: _, ...rest } = layer;
        const ordinary = { ...rest, mediaType: own.mediaType };
        expect(await pushed('foreign/ordinary:1', {})).toEqual([ordinary, own]);
        expect(await registry.hasBlob(`${host.host}/foreign/ordinary:1`, layer.digest)).toBe(true);
      });
    } finally {
      elsewhere.close();
      elsewhere.closeAllConnections();
    }
  });

  test('push-by-digest makes no tag', () =>
    withStore('overlayfs', async (store) => {
      const results = [solved(refsOf(store).snapshot(await twoSteps(store)))];
      const to = `${host.host}/team/untagged:latest`;
      const attrs = { push: 'true', 'push-by-digest': 'true', store: 'false' };
      const { descriptor } = await run(store, 'image', attrs, { results, names: [to] });
      expect(inspect(`${host.host}/team/untagged@${descriptor?.digest}`).layers).toHaveLength(2);
      expect(() => inspect(to)).toThrow();
      expect(await store.images.list()).toEqual([]);
    }));

  test('a base that is only named is fetched, so that the image is whole; force-compression brings it along', () =>
    withStore('overlayfs', async (store) => {
      const { ref } = await onBase(store, 'team/lazy');
      const results = [solved(ref, { history: [{ created_by: 'base' }] })];
      const plain = await run(store, 'image', {}, { results, names: [name] });
      const layers = (await read<Manifest>(store, plain.descriptor!)).layers;
      expect(layers.map(({ digest }) => digest)).toEqual([base.layers[0]?.digest]);
      expect(await store.content.info(layers[0]!.digest)).toBeDefined();
      expect((await store.snapshots.list()).length).toBe(0);
      const attrs = { compression: 'zstd', 'force-compression': 'true' };
      const forced = await run(store, 'image', attrs, { results, names: [name] });
      const manifest = await read<Manifest>(store, forced.descriptor!);
      expect(manifest.layers[0]?.mediaType).toBe('application/vnd.oci.image.layer.v1.tar+zstd');
      const config = await read<ImageConfig>(store, manifest.config);
      expect(config.rootfs.diff_ids).toEqual(base.config.rootfs.diff_ids);
      expect(
        entriesOf(await store.content.bytes(manifest.layers[0]!.digest))
          .get('etc/base')
          ?.body.toString(),
      ).toBe('base');
    }));
});

describe('attributes', () => {
  test.each([
    ['image', { pusch: 'true' }, /no attribute "pusch"/, /push/],
    ['image', { compression: 'gzp' }, /unknown compression/, /gzip/],
    ['image', { compression: 'estarg' }, /unknown compression/, /estargz/],
    [
      'image',
      { compression: 'estargz', 'oci-mediatypes': 'false' },
      /cannot go with oci-mediatypes/,
      /annot/,
    ],
    ['image', { push: 'maybe' }, /neither true nor false/, /^$/],
    ['oci', { compression: 'gzip', 'compression-level': '12' }, /no level 12/, /^$/],
    ['local', { compression: 'gzip' }, /no attribute "compression"/, /./],
    ['imgae', {}, /no exporter "imgae"/, /image/],
  ])('%s %o', (type, attrs, message, hint) => {
    try {
      createExporter(type, attrs as unknown as Record<string, string>);
    } catch (err) {
      expect(err).toMatchObject({ hop: 'export', message: expect.stringMatching(message) });
      expect((err as { hint?: string }).hint ?? '').toMatch(hint);
      return;
    }
    expect.unreachable();
  });
});
