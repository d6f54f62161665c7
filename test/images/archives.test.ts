/** Save and load: one tar for us, docker, podman and skopeo; archives of strangers; hostile ones. */
import { execFileSync } from 'node:child_process';
import { createReadStream, createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findImage } from '../../src/distribution/stored.ts';
import { DrydockError } from '../../src/errors/error.ts';
import { listImages } from '../../src/images/list.ts';
import { loadImages } from '../../src/images/load.ts';
import { saveImages } from '../../src/images/save.ts';
import { tagImage } from '../../src/images/tag.ts';
import { hex } from '../../src/oci/digest.ts';
import { openLocalStore } from '../../src/store/local/open.ts';
import type { Store } from '../../src/store/store.ts';
import { imageOf, type TestFile, type TestImage, tarOf, writeLayout } from '../kit/images.ts';

let root: string;
let store: Store;

const image = imageOf([tarOf({ a: 'one' }), tarOf({ b: 'two' })], { config: { Cmd: ['sh'] } });
const plain = imageOf([tarOf({ a: 'one' })], { uncompressed: true });

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'drydock-archives-'));
  store = await openLocalStore(join(root, 'store'));
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

/** The tar of an OCI layout. */
function ociTar(source: TestImage, name?: string): Buffer {
  const files: Record<string, TestFile> = {};
  for (const [digest, data] of source.blobs) files[`blobs/sha256/${hex(digest)}`] = data;
  const annotations = name === undefined ? {} : { annotations: { 'io.containerd.image.name': name } };
  files['index.json'] = JSON.stringify({
    schemaVersion: 2,
    manifests: [{ ...source.manifest, ...annotations }],
  });
  files['oci-layout'] = '{"imageLayoutVersion":"1.0.0"}';
  return tarOf(files);
}

/** `docker save` as it was from 1.10 to 24: folders per layer, manifest.json. */
function oldDockerTar(
  source: TestImage,
  tags: string[],
  change: (files: Record<string, TestFile>) => void = () => {},
) {
  const files: Record<string, TestFile> = {};
  const layers = source.layers.map(({ digest }, i) => {
    const path = `${'0'.repeat(63)}${i}/layer.tar`;
    files[path] = source.blobs.get(digest)!;
    files[path.replace('layer.tar', 'VERSION')] = '1.0';
    files[path.replace('layer.tar', 'json')] = '{}';
    return path;
  });
  files[`${hex(source.configDigest)}.json`] = source.blobs.get(source.configDigest)!;
  files['manifest.json'] = JSON.stringify([
    { Config: `${hex(source.configDigest)}.json`, RepoTags: tags, Layers: layers },
  ]);
  files.repositories = '{}';
  change(files);
  return tarOf(files);
}

const load = (tar: Uint8Array) => loadImages(store, Readable.from([tar]));

describe('load', () => {
  test.each([
    ['plain', (tar: Buffer) => tar],
    ['gzip', (tar: Buffer) => gzipSync(tar)],
    ['zstd', (tar: Buffer) => zstdCompressSync(tar)],
  ])('an OCI layout tar, %s', async (_, pack) => {
    const loaded = await load(pack(ociTar(image, 'docker.io/library/app:1')));
    expect(loaded).toMatchObject([{ name: 'app:1', id: image.configDigest, target: image.manifest }]);
    await store.gc();
    expect((await store.verify()).problems).toEqual([]);
    for (const digest of image.blobs.keys()) expect(await store.content.info(digest)).toBeDefined();
  });

  test("docker save's of old, whose layers may be links", async () => {
    const tar = oldDockerTar(plain, ['old:1', 'old:2'], (files) => {
      files['l/layer.tar'] = { link: `../${'0'.repeat(63)}0/layer.tar` };
      files['manifest.json'] = (files['manifest.json'] as string).replace(`${'0'.repeat(63)}0/`, 'l/');
    });
    const loaded = await load(tar);
    expect(loaded.map(({ name }) => name)).toEqual(['old:1', 'old:2']);
    expect((await findImage(store, 'old:2')).image.id).toBe(plain.configDigest);
    await store.gc();
    expect(await store.content.info(plain.layers[0]!.digest)).toBeDefined();
  });

  test.each([
    ['Jib', 'config.json', (digest: string) => `${digest}.tar.gz`],
    ['ko, crane and kaniko', `sha256:${hex(image.configDigest)}`, (digest: string) => `${digest}.tar.gz`],
    ['Bazel', `blobs/sha256/${hex(image.configDigest)}`, (digest: string) => `blobs/sha256/${digest}.tar.gz`],
    ['anybody, with any names', 'my config', (digest: string) => `some/layer ${digest.slice(0, 4)}`],
  ])('what %s writes: manifest.json says which file is what', async (_, config, nameOf) => {
    const files: Record<string, TestFile> = { [config]: image.blobs.get(image.configDigest)! };
    const layers = image.layers.map(({ digest }) => nameOf(hex(digest)));
    for (const [i, path] of layers.entries()) files[path] = image.blobs.get(image.layers[i]!.digest)!;
    files.README = 'a file that nobody names';
    files['manifest.json'] = JSON.stringify([{ Config: config, RepoTags: ['made:1'], Layers: layers }]);
    expect(await load(tarOf(files))).toMatchObject([{ name: 'made:1', id: image.configDigest }]);
    await store.gc();
    expect((await findImage(store, 'made:1')).image.document.layers).toMatchObject(
      image.layers.map(({ digest, size }) => ({ digest, size })),
    );
    expect((await store.content.list()).map(({ size }) => size)).not.toContain(files.README.length);
  });

  test('an image without a name is kept as dangling', async () => {
    expect(await load(ociTar(image))).toMatchObject([{ name: undefined, id: image.configDigest }]);
    await store.gc();
    expect(await listImages(store)).toMatchObject([{ id: image.configDigest, names: [], dangling: true }]);
  });

  test('what skopeo writes, in both formats', async () => {
    writeLayout(join(root, 'layout'), image, 'x');
    const skopeo = (to: string) =>
      execFileSync('skopeo', ['copy', '-q', `oci:${root}/layout:x`, to], { stdio: 'pipe' });
    skopeo(`docker-archive:${root}/docker.tar:from/skopeo:1`);
    skopeo(`oci-archive:${root}/oci.tar:latest`);
    expect(await loadImages(store, createReadStream(`${root}/docker.tar`))).toMatchObject([
      { name: 'from/skopeo:1', id: image.configDigest },
    ]);
    expect(await loadImages(store, createReadStream(`${root}/oci.tar`))).toMatchObject([
      { target: image.manifest },
    ]);
  });
});

describe('save', () => {
  test('writes an archive that skopeo reads as docker archive and as OCI layout, and that we load again', async () => {
    await load(ociTar(image, 'docker.io/library/app:1'));
    await tagImage(store, 'app:1', 'other.example/team/app:2');
    await saveImages(store, ['app:1', 'other.example/team/app:2'], createWriteStream(`${root}/out.tar`));
    const inspect = (from: string) =>
      JSON.parse(execFileSync('skopeo', ['inspect', '--config', from], { encoding: 'utf8' }));
    expect(inspect(`docker-archive:${root}/out.tar:app:1`)).toMatchObject({ rootfs: image.config.rootfs });
    expect(inspect(`docker-archive:${root}/out.tar:other.example/team/app:2`)).toMatchObject({ os: 'linux' });
    execFileSync('skopeo', ['copy', '-q', `docker-archive:${root}/out.tar:app:1`, `dir:${root}/dir`], {
      stdio: 'pipe',
    });
    execFileSync('mkdir', [`${root}/x`]);
    execFileSync('tar', ['-xf', `${root}/out.tar`, '-C', `${root}/x`]);
    expect(inspect(`oci:${root}/x:1`)).toMatchObject({ rootfs: image.config.rootfs });

    const second = await openLocalStore(join(root, 'second'));
    try {
      const loaded = await loadImages(second, createReadStream(`${root}/out.tar`));
      expect(loaded.map(({ name }) => name).sort()).toEqual(['app:1', 'other.example/team/app:2']);
      expect(loaded.every(({ target }) => target.digest === image.manifest.digest)).toBe(true);
    } finally {
      await second.close();
    }
  });

  test('gives the same bytes each time', async () => {
    await load(ociTar(image, 'docker.io/library/app:1'));
    for (const file of ['1', '2']) await saveImages(store, ['app:1'], createWriteStream(`${root}/${file}`));
    expect(readFileSync(`${root}/1`).equals(readFileSync(`${root}/2`))).toBe(true);
  });

  test('writes nothing when one of the images is not there', async () => {
    await load(ociTar(image, 'docker.io/library/app:1'));
    const out = new PassThrough();
    await expect(saveImages(store, ['app:1', 'nope'], out)).rejects.toMatchObject({ code: 'not-found' });
    expect(out.readableLength).toBe(0);
  });

  test('ends when its reader goes away, also before it has begun', async () => {
    await load(ociTar(image, 'docker.io/library/app:1'));
    const gone = new PassThrough().destroy();
    await expect(saveImages(store, ['app:1'], gone)).rejects.toMatchObject({ code: 'unavailable' });
    const out = new PassThrough({ highWaterMark: 16 });
    setTimeout(() => out.destroy(), 50);
    await expect(saveImages(store, ['app:1'], out)).rejects.toBeInstanceOf(DrydockError);
    expect(await store.leases.list()).toEqual([]);
  });
});

describe('archives that must not be believed', () => {
  const bad: [string, () => Uint8Array, string][] = [
    ['no archive at all', () => Buffer.from('hello, world'), 'corrupt'],
    ['an empty stream', () => Buffer.alloc(0), 'corrupt'],
    ['a tar of files', () => tarOf({ 'etc/passwd': 'root' }), 'corrupt'],
    ['a cut archive', () => ociTar(image, 'docker.io/library/app:1').subarray(0, 2000), 'corrupt'],
    ['a cut gzip', () => gzipSync(ociTar(image)).subarray(0, 500), 'corrupt'],
    [
      'a blob that is not what its name says',
      () => {
        const tar = ociTar(image);
        tar[520] = tar[520]! ^ 1;
        return tar;
      },
      'corrupt',
    ],
    [
      'a missing layer',
      () =>
        ociTar({ ...image, blobs: new Map([...image.blobs].filter(([d]) => d !== image.layers[1]!.digest)) }),
      'corrupt',
    ],
    [
      'a layer that is not the one of the config',
      () =>
        oldDockerTar(plain, ['x:1'], (files) => {
          files[`${'0'.repeat(63)}0/layer.tar`] = tarOf({ evil: 'x' });
        }),
      'corrupt',
    ],
    [
      'a path out of the archive',
      () =>
        oldDockerTar(plain, ['x:1'], (files) => {
          files['manifest.json'] = JSON.stringify([
            { Config: '../../../../etc/passwd', RepoTags: [], Layers: ['/etc/shadow'] },
          ]);
        }),
      'corrupt',
    ],
    [
      'links in a circle',
      () =>
        oldDockerTar(plain, ['x:1'], (files) => {
          files[`${'0'.repeat(63)}0/layer.tar`] = { link: '../b/layer.tar' };
          files['b/layer.tar'] = { link: `../${'0'.repeat(63)}0/layer.tar` };
        }),
      'corrupt',
    ],
    ['a name that is none', () => oldDockerTar(plain, ['UPPER/../x']), 'corrupt'],
    ['a manifest.json that is no list', () => tarOf({ 'manifest.json': '{"a":1}' }), 'corrupt'],
    [
      "docker's format before 1.10",
      () => tarOf({ repositories: '{}', 'x/layer.tar': tarOf({}) }),
      'unsupported',
    ],
  ];
  test.each(bad)('%s', async (_, make, code) => {
    const error = await load(make()).then(
      () => undefined,
      (err: unknown) => err,
    );
    expect(error).toBeInstanceOf(DrydockError);
    expect((error as DrydockError).code).toBe(code);
    expect(await store.images.list()).toEqual([]);
    expect(await store.content.list()).toEqual([]);
    expect(await store.leases.list()).toEqual([]);
  });

  test('any damage to an archive gives an error or a sound image, never a crash', async () => {
    const good = ociTar(image, 'docker.io/library/app:1');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        fc.nat(good.length),
        async (changes, cut) => {
          const tar = Buffer.from(good.subarray(0, cut > good.length / 2 ? good.length : cut));
          for (const [at, value] of changes) if (at < tar.length) tar[at] = value;
          const result = await load(tar).catch((err: unknown) => err);
          if (!Array.isArray(result)) expect(result).toBeInstanceOf(DrydockError);
        },
      ),
      { numRuns: 25 },
    );
    expect((await store.verify()).problems).toEqual([]);
  });

  test('being given up leaves nothing', async () => {
    const abort = new AbortController();
    const slow = async function* () {
      yield ociTar(image).subarray(0, 1500);
      abort.abort();
      yield ociTar(image).subarray(1500);
    };
    await expect(loadImages(store, slow(), { signal: abort.signal })).rejects.toMatchObject({
      code: 'canceled',
    });
    expect(await store.content.list()).toEqual([]);
  });
});
