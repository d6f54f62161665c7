/** Builds, images and exports are the same on either store. */
import { execFileSync } from 'node:child_process';
import { createReadStream, createWriteStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inspectImage } from '../../src/images/inspect.ts';
import { listImages } from '../../src/images/list.ts';
import { loadImages } from '../../src/images/load.ts';
import { pullImage } from '../../src/images/pull.ts';
import { pushImage } from '../../src/images/push.ts';
import { removeImage } from '../../src/images/remove.ts';
import { saveImages } from '../../src/images/save.ts';
import { tagImage } from '../../src/images/tag.ts';
import { image, merge, mkfile, scratch } from '../../src/llb/llb.ts';
import type { Descriptor } from '../../src/oci/types.ts';
import { buildState } from '../../src/sdk/build.ts';
import { diskUsage, prune } from '../../src/upkeep/disk-usage.ts';
import { Builds } from '../kit/builds.ts';
import { imageOf, pushBase, putImage, tarOf } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

let registry: TestRegistry;
let base: string;

beforeAll(async () => {
  registry = await startRegistry();
  base = await pushBase(registry.host);
});
afterAll(() => registry.stop());

onStores('a build', (store) => {
  const builds = new Builds();
  beforeAll(() => builds.open(store.options()));
  afterAll(() => builds.close());

  const cachedSteps = () =>
    [...builds.steps.values()].flatMap(({ cached, name }) =>
      cached ? (/(RUN|COPY) .*/.exec(name)?.[0] ?? []) : [],
    );

  test('an image that may be incomplete leaves its layers where they are, also when it is pushed elsewhere', async () => {
    if (store.kind === 'local') return; // its images are whole, so that they run without a registry
    const { engine } = builds;
    // Layers of its own, that no other test brings.
    const lazy = `${registry.host}/lazy/base:1`;
    await putImage(registry.host, 'lazy/base:1', imageOf([tarOf({ seed: 'lazy' })]));
    const name = `${registry.host}/lazy/other:1`;
    const attrs = { push: 'true', 'unsafe-internal-store-allow-incomplete': 'true' };
    const credentials = async () => undefined;
    const pushed = await buildState(image(lazy), {
      ...{ engine, credentials, tags: [name] },
      outputs: [{ type: 'image', attrs }],
    });
    const manifest = JSON.parse((await engine.store.content.bytes(pushed.descriptor!.digest)).toString());
    for (const layer of manifest.layers)
      expect(await engine.store.content.info(layer.digest)).toBeUndefined();
    const there = await fetch(`http://${registry.host}/v2/lazy/other/blobs/${manifest.layers[0].digest}`);
    expect(there.status).toBe(200);
    // So they do below what is merged onto them (COPY --link).
    const more = scratch().file(mkfile('/more', 'more'));
    const linked = await buildState(merge([image(lazy), more]), {
      ...{ engine, credentials, tags: [`${registry.host}/lazy/linked:1`] },
      outputs: [{ type: 'image', attrs }],
    });
    const { layers } = JSON.parse((await engine.store.content.bytes(linked.descriptor!.digest)).toString());
    expect(layers.slice(0, -1)).toEqual(manifest.layers);
    for (const layer of manifest.layers)
      expect(await engine.store.content.info(layer.digest)).toBeUndefined();
    // What a push had to bring stays with the image.
    const second = await startRegistry();
    try {
      const tags = [`${second.host}/lazy/far:1`];
      const far = await buildState(image(lazy), {
        ...{ engine, credentials, tags },
        outputs: [{ type: 'image', attrs }],
      });
      await engine.store.gc();
      expect(far.descriptor?.digest).toBe(pushed.descriptor?.digest);
      for (const layer of manifest.layers)
        expect(await engine.store.content.info(layer.digest)).toBeDefined();
    } finally {
      await second.stop();
    }
    // They come when they are wanted.
    const again = await builds.build(`FROM ${name}\nCOPY more /more`, { more: 'm' });
    expect([again.read('/seed'), again.read('/more')]).toEqual(['lazy', 'm']);
    const onLinked = await builds.build(`FROM ${registry.host}/lazy/linked:1\nCOPY m /m`, { m: 'm' });
    expect([onLinked.read('/seed'), onLinked.read('/more'), onLinked.read('/m')]).toEqual([
      'lazy',
      'more',
      'm',
    ]);
  });

  test('a base that was pushed uncompressed stays so under an image that is pushed', async () => {
    const plain = `${registry.host}/plain/base:1`;
    const push = (attrs: Record<string, string> = {}) => ({
      outputs: [{ type: 'image' as const, attrs: { push: 'true', ...attrs } }],
    });
    const text = `FROM ${base}\nCOPY a /a`;
    await builds.build(text, { a: 'a' }, { tags: [plain], ...push({ compression: 'uncompressed' }) });
    const name = `${registry.host}/plain/app:1`;
    await builds.build(`FROM ${plain}\nCOPY b /b`, { b: 'b' }, { tags: [name], ...push() });
    const { images, content } = builds.engine.store;
    const { target } = (await images.get(name))!;
    const manifest = JSON.parse((await content.bytes(target.digest)).toString());
    const types = manifest.layers.map((layer: Descriptor) => layer.mediaType.replace(/.*layer\.v1\./, ''));
    expect(types.slice(-2)).toEqual(['tar', 'tar+gzip']);
    const there = await fetch(`http://${registry.host}/v2/plain/app/blobs/${manifest.layers.at(-2).digest}`);
    expect(there.status).toBe(200);
  });

  test('several stages, from a registry, are cached the second time, and one changed file is one step', async () => {
    const files = { 'src/a': 'a', 'src/b': 'b', other: 'o' };
    const text = `
      FROM ${base} AS one
      RUN mkdir /out && echo one > /out/one
      COPY src /out/src
      RUN cat /out/src/* > /out/all
      FROM ${base}
      COPY --from=one /out /out
      COPY other /other
      RUN rm /out/one && chmod 4755 /out/all`;
    const first = await builds.build(text, files, { tags: ['app:1'] });
    expect(first.read('/out/all')).toBe('ab');
    expect(first.stat('/out/all')).toBe('file 4755 0:0');
    expect(first.stat('/out/one')).toBeUndefined();
    expect(cachedSteps()).toEqual([]);

    const before = (await inspectImage(builds.engine.store, 'app:1')).Id;
    await builds.build(text, files, { tags: ['app:2'] });
    expect(cachedSteps()).toHaveLength(6);
    const after = (await inspectImage(builds.engine.store, 'app:2')).Id;
    expect(after).toBe(before);

    const changed = await builds.build(text, { ...files, other: 'O' }, { tags: ['app:3'] });
    expect(changed.read('/other')).toBe('O');
    expect(cachedSteps()).toEqual(expect.arrayContaining(['COPY src /out/src', 'COPY --from=one /out /out']));
    expect(cachedSteps()).toHaveLength(4);
  });

  test('images are listed, named, removed, and what nothing refers to goes', async () => {
    const { store: images } = builds.engine;
    await builds.build('RUN echo unique-layer > /unique', {}, { tags: ['named:1'] });
    await tagImage(images, 'named:1', 'other:2');
    const { Id, RepoTags } = await inspectImage(images, 'other:2');
    expect(RepoTags.sort()).toEqual(['named:1', 'other:2']);
    expect((await listImages(images)).find(({ id }) => id === Id)?.names).toEqual(['named:1', 'other:2']);

    expect(await removeImage(images, 'named:1')).toMatchObject({ untagged: ['named:1'] });
    await prune(builds.engine, { all: true });
    expect((await builds.look('other:2')).read('/unique')).toBe('unique-layer\n');
    const { deleted } = await removeImage(images, 'other:2');
    expect(deleted).toBe(Id);
    expect(await diskUsage(builds.engine)).toEqual([]);
    await expect(inspectImage(images, 'other:2')).rejects.toMatchObject({ code: 'not-found', hop: 'store' });
    expect((await images.verify()).problems).toEqual([]);
  });

  test('what is pruned is off the disk once prune returns', async () => {
    const { store: images } = builds.engine;
    const files = 'i=0; while [ $i -lt 1000 ]; do echo $i > /f$i; i=$((i+1)); done';
    await builds.build(`RUN ${files}`, {}, { tags: ['many:1'] });
    await removeImage(images, 'many:1');
    expect((await prune(builds.engine, { all: true })).records.length).toBeGreaterThan(0);
    const trash = join(images.runDir, 'trash');
    expect(existsSync(trash) ? readdirSync(trash) : []).toEqual([]);
  });

  test('pushed, removed, pulled again: one digest, and a build on it uses its layers', async () => {
    const { store: images, registry: client } = builds.engine;
    const name = `${registry.host}/pushed:1`;
    await builds.build('RUN echo pushed > /pushed', {}, { tags: [name] });
    const { target } = await pushImage(images, client, name);
    expect((await images.images.get(name))?.target.digest).toBe(target.digest);
    await removeImage(images, name);
    await prune(builds.engine, { all: true });
    const pulled = await pullImage(images, client, name);
    expect(pulled.record.target.digest).toBe(target.digest);
    const on = await builds.build(`FROM ${name}\nRUN cat /pushed > /copy`, {}, { tags: ['on:1'] });
    expect(on.read('/copy')).toBe('pushed\n');
    await pushImage(images, client, 'on:1', `${registry.host}/on:1`);
    const manifest = async (ref: string) => {
      const { digest } = (await images.images.get(ref))!.target;
      return JSON.parse((await images.content.bytes(digest)).toString()) as { layers: { digest: string }[] };
    };
    const [below, above] = [await manifest(name), await manifest('docker.io/library/on:1')];
    expect(above.layers.slice(0, -1).map(({ digest }) => digest)).toEqual(
      below.layers.map(({ digest }) => digest),
    );
  });

  test('saved and loaded; a broken archive leaves nothing', async () => {
    const { store: images } = builds.engine;
    await builds.build('RUN echo saved > /saved', {}, { tags: ['saved:1'] });
    const id = (await inspectImage(images, 'saved:1')).Id;
    const file = join(builds.dir, 'saved.tar');
    await saveImages(images, ['saved:1'], createWriteStream(file));
    await removeImage(images, 'saved:1');
    await prune(builds.engine, { all: true });
    const before = await images.content.list();
    const half = PassThrough.from([readFileSync(file).subarray(0, 200_000)]);
    await expect(loadImages(images, half)).rejects.toMatchObject({ code: 'corrupt' });
    expect((await images.content.list()).length).toBe(before.length);
    const [loaded] = await loadImages(images, createReadStream(file));
    expect([loaded?.name, loaded?.id]).toEqual(['saved:1', id]);
    const on = await builds.build('FROM saved:1\nRUN cat /saved > /again', {}, { tags: ['again:1'] });
    expect(on.read('/again')).toBe('saved\n');
  });

  test('exports: local, tar, oci and docker archives, with every compression', async () => {
    const dockerfile =
      'FROM base AS b\nRUN mkdir /o && echo hello > /o/file\nFROM scratch\nCOPY --from=b /o /';
    const run = async (type: 'local' | 'tar' | 'oci' | 'docker', attrs: Record<string, string> = {}) => {
      const dest = join(builds.dir, `${type}-${Object.values(attrs).join('-')}`);
      const sink = type === 'local' ? { files: dest } : { tar: async () => createWriteStream(dest) };
      await builds.build(
        dockerfile,
        {},
        {
          outputs: [
            { type, attrs, sink },
            { type: 'image', attrs: {} },
          ],
        },
      );
      return dest;
    };
    expect(readFileSync(join(await run('local'), 'file'), 'utf8')).toBe('hello\n');
    expect(execFileSync('tar', ['xOf', await run('tar'), 'file'], { encoding: 'utf8' })).toBe('hello\n');
    for (const compression of ['uncompressed', 'gzip', 'zstd']) {
      const archive = await run('oci', { compression, 'force-compression': 'true' });
      const inspected = execFileSync('skopeo', ['inspect', `oci-archive:${archive}`], { encoding: 'utf8' });
      expect(JSON.parse(inspected).Layers).toHaveLength(1);
    }
    const docker = await run('docker', { name: 'exported:1' });
    expect(
      JSON.parse(execFileSync('tar', ['xOf', docker, 'manifest.json'], { encoding: 'utf8' })),
    ).toMatchObject([{ RepoTags: ['exported:1'] }]);
  });

  test('no lease of a build stays, and what was done is whole', async () => {
    const { store: images } = builds.engine;
    const failing = builds.build('RUN echo half > /half && exit 3', {}, { tags: ['never:1'] });
    await expect(failing).rejects.toMatchObject({ code: 'failed' });
    expect((await images.leases.list()).filter(({ pinned }) => !pinned)).toEqual([]);
    expect((await images.snapshots.list()).filter(({ kind }) => kind === 'active')).toEqual([]);
    expect((await images.verify()).problems).toEqual([]);
  });
});
