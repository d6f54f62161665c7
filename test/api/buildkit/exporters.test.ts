/** Exporters as clients ask for them over the API: their attributes, a real registry, and the answers clients read. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Descriptor, Digest, ImageConfig, Index, Manifest } from '../../../src/oci/types.ts';
import { closePool } from '../../../src/workers/pool.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { onStores } from '../../kit/stores.ts';
import { ControlKit, failure } from './control-kit.ts';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(async () => {
  await registry.stop();
  await closePool();
});

/** What the registry has under a tag or a digest. */
async function inRegistry(repository: string, reference: string, kind = 'manifests') {
  const types = ['application/vnd.oci.image.index.v1+json', 'application/vnd.oci.image.manifest.v1+json'];
  types.push('application/vnd.docker.distribution.manifest.v2+json');
  return fetch(`http://${registry.host}/v2/${repository}/${kind}/${reference}`, {
    headers: { accept: types.join() },
  });
}

onStores('exporters', (store) => {
  let kit: ControlKit;
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
  });
  afterAll(() => kit.daemon.stop());

  const context = () => {
    const dir = kit.folder({
      Dockerfile:
        'FROM scratch AS hello\nARG TARGETARCH\nCOPY hello.txt /hello-$TARGETARCH\nFROM hello\nCOPY more /more/\n',
      'hello.txt': 'hello',
      'more/file': 'x'.repeat(100_000),
    });
    return { dirs: { context: dir, dockerfile: dir } };
  };
  const solve = async (
    exporters: [type: string, attrs: Record<string, string>][],
    options: Record<string, string> = {},
    outputs: Record<number, { dir: string } | { file: string }> = {},
  ) => {
    const Exporters = exporters.map(([Type, Attrs]) => ({ Type, Attrs }));
    const request = { Frontend: 'dockerfile.v0', FrontendAttrs: options, Exporters };
    return (await kit.solve(request, { ...context(), outputs })).response;
  };
  const both = { platform: 'linux/amd64,linux/arm64' };
  const bytes = async (digest: string | undefined) =>
    JSON.parse((await kit.daemon.engine.store.content.bytes(digest as Digest)).toString());
  const manifestOf = (digest: string | undefined): Promise<Manifest> => bytes(digest);
  const repo = (name: string) => `${store.kind}/${name}`;
  const folder = () => mkdtempSync(join(kit.daemon.dir, 'out-'));

  test('push: the registry has what the answer says, under every name', async () => {
    const names = ['a:1', 'b:2'].map((name) => `${registry.host}/${repo(name)}`);
    const response = await solve([['image', { name: names.join(), push: 'true' }]]);
    expect(response['image.name']).toBe(names.join());
    for (const [name, tag] of [
      ['a', '1'],
      ['b', '2'],
    ] as const) {
      const answer = await inRegistry(repo(name), tag);
      expect(answer.headers.get('docker-content-digest')).toBe(response['containerimage.digest']);
      const manifest = (await answer.json()) as Manifest;
      expect(manifest.config.digest).toBe(response['containerimage.config.digest']);
      for (const { digest } of manifest.layers) {
        expect((await inRegistry(repo(name), digest, 'blobs')).status).toBe(200);
      }
    }
    const descriptor: Descriptor = JSON.parse(
      Buffer.from(response['containerimage.descriptor'] ?? '', 'base64').toString(),
    );
    expect(descriptor).toMatchObject({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: response['containerimage.digest'],
    });
  });

  test('push-by-digest makes no tag; name-canonical names the image by its digest too', async () => {
    const name = `${registry.host}/${repo('digested')}`;
    const response = await solve([
      ['image', { name, push: 'true', 'push-by-digest': 'true', 'name-canonical': 'true' }],
    ]);
    const digest = response['containerimage.digest'] ?? '';
    expect((await inRegistry(repo('digested'), digest)).status).toBe(200);
    expect((await inRegistry(repo('digested'), 'latest')).status).toBe(404);
    expect((await kit.daemon.engine.store.images.get(`${name}@${digest}`))?.target.digest).toBe(digest);
  });

  test('store=false leaves nothing named; a name is then for the registry alone', async () => {
    const name = `${registry.host}/${repo('unstored')}:1`;
    await solve([['image', { name, push: 'true', store: 'false' }]]);
    expect((await inRegistry(repo('unstored'), '1')).status).toBe(200);
    expect(await kit.daemon.engine.store.images.get(name)).toBeUndefined();
  });

  test('dangling-name-prefix names what has no name', async () => {
    const response = await solve([['image', { 'dangling-name-prefix': 'loose' }]]);
    const name = `loose@${response['containerimage.digest']}`;
    const images = await kit.daemon.engine.store.images.list();
    expect(images.map((image) => image.name)).toContain(name);
    expect(response['image.name'] ?? '').not.toContain('moby-dangling');
  });

  test('unpack: the image is there to be run', async () => {
    const response = await solve([['image', { name: 'example.com/unpacked:1', unpack: 'true' }]]);
    const config: ImageConfig = await bytes(response['containerimage.config.digest']);
    const { chainId } = await import('../../../src/oci/digest.ts');
    const chain = chainId(config.rootfs.diff_ids);
    expect(await kit.daemon.engine.store.snapshots.byChain(chain as Digest)).toBeDefined();
  });

  test.each([
    [{ compression: 'zstd', 'compression-level': '5' }, 'application/vnd.oci.image.layer.v1.tar+zstd'],
    [{ compression: 'gzip', 'compression-level': '9' }, 'application/vnd.oci.image.layer.v1.tar+gzip'],
    [{ compression: 'uncompressed', 'force-compression': 'true' }, 'application/vnd.oci.image.layer.v1.tar'],
    [{ compression: 'gzip', 'oci-mediatypes': 'false' }, 'application/vnd.docker.image.rootfs.diff.tar.gzip'],
  ])('layers as asked for: %j', async (attrs, mediaType) => {
    const tag = Object.values(attrs).join('-');
    const name = `${registry.host}/${repo('compressed')}:${tag}`;
    const response = await solve([['image', { name, push: 'true', ...attrs }]]);
    const manifest = (await (await inRegistry(repo('compressed'), tag)).json()) as Manifest;
    expect(manifest.layers.map((layer) => layer.mediaType)).toEqual([mediaType, mediaType]);
    const docker = 'oci-mediatypes' in attrs;
    expect(manifest.mediaType).toBe(
      docker
        ? 'application/vnd.docker.distribution.manifest.v2+json'
        : 'application/vnd.oci.image.manifest.v1+json',
    );
    expect((await inRegistry(repo('compressed'), response['containerimage.digest'] ?? '')).status).toBe(200);
  });

  test('annotations of manifests, by platform, of the index and of descriptors', async () => {
    const response = await solve(
      [
        [
          'image',
          {
            name: 'example.com/noted:1',
            'annotation.all': 'm',
            'annotation[linux/arm64].one': 'arm',
            'annotation-index.top': 'i',
            'annotation-manifest-descriptor[linux/amd64].entry': 'd',
          },
        ],
      ],
      both,
    );
    const index: Index = await bytes(response['containerimage.digest']);
    expect(index.annotations).toEqual({ top: 'i' });
    const [amd64, arm64] = index.manifests;
    expect(amd64?.annotations).toMatchObject({ entry: 'd' });
    expect((await manifestOf(amd64?.digest)).annotations).toEqual({ all: 'm' });
    expect((await manifestOf(arm64?.digest)).annotations).toEqual({ all: 'm', one: 'arm' });
  });

  test('rewrite-timestamp with SOURCE_DATE_EPOCH: one digest, whenever it is built', async () => {
    const epoch = { 'build-arg:SOURCE_DATE_EPOCH': '1700000000' };
    const image = { name: 'example.com/dated:1', 'rewrite-timestamp': 'true' };
    const first = await solve([['image', image]], epoch);
    const second = await solve([['image', image]], { ...epoch, 'no-cache': '' });
    expect(second['containerimage.digest']).toBe(first['containerimage.digest']);
    const config: ImageConfig = await bytes(first['containerimage.config.digest']);
    expect(config.created).toBe('2023-11-14T22:13:20Z');
  });

  test('rewrite-timestamp is said of the layers that it was done to, where the manifest may say so', async () => {
    const dockerfile = 'ARG SOURCE_DATE_EPOCH=1445412480\nFROM scratch\nCOPY Dockerfile /\n';
    const dir = kit.folder({ Dockerfile: dockerfile });
    const annotation = async (attrs: Record<string, string>, build: Record<string, string> = {}) => {
      const Attrs = {
        name: 'example.com/dated:2',
        'oci-mediatypes': 'true',
        'rewrite-timestamp': 'true',
        ...attrs,
      };
      const { response } = await kit.solve(
        { Frontend: 'dockerfile.v0', FrontendAttrs: build, Exporters: [{ Type: 'image', Attrs }] },
        { dirs: { context: dir, dockerfile: dir } },
      );
      const { layers } = await manifestOf(response['containerimage.digest']);
      return layers[0]?.annotations?.['buildkit/rewritten-timestamp'];
    };
    expect(await annotation({})).toBe('1445412480');
    expect(await annotation({}, { 'build-arg:SOURCE_DATE_EPOCH': '1700000002' })).toBe('1700000002');
    expect(await annotation({ 'source-date-epoch': '' })).toBeUndefined();
    expect(await annotation({}, { 'build-arg:SOURCE_DATE_EPOCH': 'context' })).toBeUndefined();
    expect(await annotation({ 'oci-mediatypes': 'false' })).toBeUndefined();
    expect(await annotation({ 'rewrite-timestamp': 'false' })).toBeUndefined();
  });

  test('several at once, each with its own output', async () => {
    const out = folder();
    const response = await solve(
      [
        ['image', { name: 'example.com/many:1' }],
        ['oci', { name: 'example.com/many:2' }],
        ['docker', { name: 'example.com/many:3' }],
        ['local', {}],
        ['tar', {}],
      ],
      {},
      {
        1: { file: join(out, 'oci.tar') },
        2: { file: join(out, 'docker.tar') },
        3: { dir: join(out, 'files') },
        4: { file: join(out, 'files.tar') },
      },
    );
    const list = (file: string) => execFileSync('tar', ['tf', join(out, file)], { encoding: 'utf8' });
    expect(list('oci.tar')).toContain('index.json');
    expect(list('docker.tar')).toContain('manifest.json');
    expect(list('files.tar')).toContain('more/file');
    expect(readFileSync(join(out, 'files/hello-amd64'), 'utf8')).toBe('hello');
    expect(response['containerimage.digest']).toMatch(/^sha256:/);
    expect((await kit.daemon.engine.store.images.get('example.com/many:1'))?.target).toBeDefined();
  });

  test('local: a folder for each platform, or one for all when told so; mode=delete is the client’s to do', async () => {
    const split = folder();
    await solve([['local', {}]], both, { 0: { dir: split } });
    expect(readdirSync(split).sort()).toEqual(['linux_amd64', 'linux_arm64']);
    expect(existsSync(join(split, 'linux_arm64/hello-arm64'))).toBe(true);
    const joined = folder();
    const apart = { 'platform-split': 'false' };
    await solve([['local', apart]], { ...both, target: 'hello' }, { 0: { dir: joined } });
    expect(readdirSync(joined).sort()).toEqual(['hello-amd64', 'hello-arm64']);
    // With statements the trees' files come in turns; a client takes them in order.
    const stated = folder();
    const provenance = { 'attest:provenance': 'mode=min' };
    await solve([['local', apart]], { ...both, target: 'hello', ...provenance }, { 0: { dir: stated } });
    expect(readdirSync(stated).sort()).toEqual([
      ...['hello-amd64', 'hello-arm64', 'provenance.linux_amd64.json', 'provenance.linux_arm64.json'],
    ]);
    const clash = folder();
    for (const [type, output] of [
      ['local', { dir: clash }],
      ['tar', { file: join(clash, 'tar') }],
    ] as const) {
      await expect(solve([[type, apart]], both, { 0: output })).rejects.toThrow(
        'cannot overwrite more/file from linux/amd64 with linux/arm64 when split option is disabled',
      );
    }
    expect(existsSync(join(clash, 'hello-amd64'))).toBe(false);
    const one = folder();
    await solve([['local', { 'platform-split': 'true' }]], {}, { 0: { dir: one } });
    expect(readdirSync(one)).toEqual(['linux_amd64']);
    await solve([['local', { mode: 'delete' }]], {}, { 0: { dir: folder() } });
  });

  test('oci of several platforms, in a tar', async () => {
    const file = join(folder(), 'oci.tar');
    await solve([['oci', { name: 'example.com/both:1' }]], both, { 0: { file } });
    const index = JSON.parse(execFileSync('tar', ['xOf', file, 'index.json'], { encoding: 'utf8' })) as Index;
    expect(index.manifests[0]?.mediaType).toBe('application/vnd.oci.image.index.v1+json');
    expect(statSync(file).size).toBeGreaterThan(1000);
  });

  test.each([
    [[['image', { name: 'x', pusg: 'true' }]], 'has no attribute "pusg"', 'push'],
    [[['image', { push: 'true' }]], 'an image without a name cannot be pushed', 'name='],
    [[['image', { compression: 'lzma' }]], 'unknown compression "lzma"', 'gzip'],
    [[['local', { mode: 'delte' }]], 'has no mode "delte"', 'delete'],
    [[['tar', {}]], 'exporter 0 not found', ''],
  ] as [[string, Record<string, string>][], string, string][])(
    'refused: %j',
    async (exporters, message, hint) => {
      const err = await failure(solve(exporters));
      expect(err.rawMessage).toContain(message);
      expect(err.rawMessage).toContain(hint);
    },
  );

  test('a registry that says no is named, and the image stays here', async () => {
    const closed = await startRegistry({ basic: { username: 'me', password: 'secret' } });
    try {
      const name = `${closed.host}/x:1`;
      const err = await failure(solve([['image', { name, push: 'true' }]]));
      expect(err.rawMessage).toContain(closed.host);
      expect(err.rawMessage).toContain('401');
      expect((await kit.daemon.engine.store.images.get(name))?.name).toBe(name);
    } finally {
      await closed.stop();
    }
  });
});
