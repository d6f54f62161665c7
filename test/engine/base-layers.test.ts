/** Layers of a base image come out of what is built on it as the base's manifest names them, also where they were made here. */
import { execFileSync } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import type { Descriptor, ImageConfig, Manifest } from '../../src/oci/types.ts';
import { build } from '../../src/sdk/build.ts';
import { prune } from '../../src/upkeep/disk-usage.ts';
import { Builds } from '../kit/builds.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

onStores('layers of a base', (store) => {
  const builds = new Builds();
  let registry: TestRegistry;
  let count = 0;
  beforeAll(async () => {
    registry = await startRegistry();
    await builds.open(store.options());
  });
  afterAll(async () => {
    await builds.close();
    await registry.stop();
  });

  const text = (of: Descriptor[]) => of.map(({ mediaType, digest }) => `${mediaType} ${digest}`);
  const manifestOf = async (name: string): Promise<Descriptor[]> => {
    const [, host, repository, tag] = /^([^/]+)\/(.+):(.+)$/.exec(name)!;
    const accept = 'application/vnd.oci.image.manifest.v1+json';
    const answer = await fetch(`http://${host}/v2/${repository}/manifests/${tag}`, { headers: { accept } });
    return ((await answer.json()) as { layers: Descriptor[] }).layers;
  };
  /** Builds and pushes; gives the layers that the registry then has. */
  const push = async (dockerfile: string, attrs: Record<string, string> = {}, name = `app${++count}`) => {
    const tag = `${registry.host}/${name}:1`;
    const outputs = [{ type: 'image' as const, attrs: { push: 'true', ...attrs } }];
    await builds.build(dockerfile, { f: 'f', g: 'g' }, { tags: [tag], outputs });
    return { tag, layers: text(await manifestOf(tag)) };
  };
  const readArchive = (file: string): [Descriptor[], ImageConfig] => {
    const read = (path: string) => JSON.parse(execFileSync('tar', ['xOf', file, path], { encoding: 'utf8' }));
    const blob = (digest: string) => read(`blobs/${digest.replace(':', '/')}`);
    const { layers, config } = blob(read('index.json').manifests[0].digest) as Manifest;
    return [layers, blob(config.digest)];
  };
  /** Builds an OCI archive. */
  const archived = async (dockerfile: string, attrs: Record<string, string> = {}) => {
    const file = join(builds.dir, `${++count}.tar`);
    const outputs = [{ type: 'oci' as const, attrs, sink: { tar: async () => createWriteStream(file) } }];
    const context = builds.context({ Dockerfile: dockerfile, f: 'f', g: 'g' });
    await build({ context, outputs, engine: builds.engine, credentials: async () => undefined });
    return file;
  };
  /** Builds an OCI archive; gives its layers. */
  const archive = async (dockerfile: string, attrs: Record<string, string> = {}) => {
    const file = await archived(dockerfile, attrs);
    const [layers] = readArchive(file);
    const names = execFileSync('tar', ['tf', file], { encoding: 'utf8' });
    for (const layer of layers) expect(names).toContain(layer.digest.slice(7));
    return text(layers);
  };
  const zstd = /\+zstd /;
  const gzip = /\+gzip /;

  test('have the compression and the very bytes that were pushed, in archives and in other images', async () => {
    const base = await push('FROM scratch\nCOPY f /f', { compression: 'zstd' });
    expect(base.layers).toEqual([expect.stringMatching(zstd)]);
    const child = `FROM ${base.tag}\nCOPY g /g`;
    expect(await archive(child)).toEqual([...base.layers, expect.stringMatching(gzip)]);
    await prune(builds.engine, { all: true });
    expect(await archive(child)).toEqual([...base.layers, expect.stringMatching(gzip)]);
    const onIt = await push(child);
    expect(onIt.layers).toEqual([...base.layers, expect.stringMatching(gzip)]);
  });

  test('that are the same files, packed differently, are each what their own base has', async () => {
    const dockerfile = 'FROM scratch\nCOPY f /twin';
    const fast = await push(dockerfile, { 'compression-level': '0', 'force-compression': 'true' });
    const small = await push(dockerfile, { 'compression-level': '9', 'force-compression': 'true' });
    expect(fast.layers).not.toEqual(small.layers);
    await prune(builds.engine, { all: true });
    for (const base of [fast, small]) {
      const [lower] = await archive(`FROM ${base.tag}\nCOPY g /g`);
      expect([lower]).toEqual(base.layers);
    }
  });

  test('are brought to another compression when that is forced', async () => {
    const base = await push('FROM scratch\nCOPY f /forced', { compression: 'zstd' });
    const forced = await archive(`FROM ${base.tag}\nCOPY g /g`, { 'force-compression': 'true' });
    expect(forced).toEqual([expect.stringMatching(gzip), expect.stringMatching(gzip)]);
  });

  test.each([
    [
      'estargz',
      /^containerd.io\/snapshot\/stargz\/toc.digest$/,
      'application/vnd.oci.image.layer.v1.tar+gzip',
    ],
    ['zstdchunked', /zstd-chunked.manifest-checksum$/, 'application/vnd.oci.image.layer.v1.tar+zstd'],
  ])(
    'as %s keep their annotations; forced, they come from and go to any other',
    async (compression, mark, type) => {
      const marks = (layers: Descriptor[]) =>
        layers.map(({ mediaType, annotations = {} }) => [
          mediaType,
          Object.keys(annotations).some((name) => mark.test(name)),
        ]);
      const plain = await push('FROM scratch\nCOPY f /lazy', { compression: 'gzip' });
      const forced = { compression, 'force-compression': 'true' };
      const { tag } = await push(`FROM ${plain.tag}\nCOPY g /lazily`, forced);
      expect(marks(await manifestOf(tag))).toEqual([
        [type, true],
        [type, true],
      ]);
      await prune(builds.engine, { all: true });

      // It is a base like others. RUN needs all of it, with the very files.
      const file = await archived(`FROM ${tag}\nCOPY --from=${tag} / /all/`);
      const [layers, config] = readArchive(file);
      expect(marks(layers).slice(0, 2)).toEqual([
        [type, true],
        [type, true],
      ]);
      for (const [i, { digest }] of layers.entries()) {
        const blob = execFileSync('tar', ['xOf', file, `blobs/${digest.replace(':', '/')}`]);
        const tar = blob[0] === 0x1f ? gunzipSync(blob) : zstdDecompressSync(blob);
        expect(digestOf(tar)).toBe(config.rootfs.diff_ids[i]);
      }
      const last = execFileSync('tar', ['xOf', file, `blobs/${layers[2]!.digest.replace(':', '/')}`]);
      const names = execFileSync('tar', ['tz'], { input: last, encoding: 'utf8' }).trim().split('\n');
      expect(names).toEqual(['all/', 'all/lazily', 'all/lazy']);

      const back = await push(`FROM ${tag}\nCOPY g /h`, { compression: 'gzip', 'force-compression': 'true' });
      expect(marks(await manifestOf(back.tag)).flat()).not.toContain(true);
    },
  );

  test('that nobody has packed yet are packed as the output says', async () => {
    await builds.build('FROM scratch\nCOPY f /plain', { f: 'f' }, { tags: ['plain'] });
    const layers = await archive('FROM plain\nCOPY g /g', { compression: 'zstd' });
    if (store.kind === 'local')
      expect(layers).toEqual([expect.stringMatching(zstd), expect.stringMatching(zstd)]);
    else expect(layers[1]).toMatch(zstd);
  });
});
