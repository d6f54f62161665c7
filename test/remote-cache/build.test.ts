/** A build's cache taken elsewhere and found there: --cache-to, --cache-from. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { Manifest } from '../../src/oci/types.ts';
import type { WarningEvent } from '../../src/progress/events.ts';
import type { CacheSpec } from '../../src/remote-cache/types.ts';
import type { DockerfileOptions } from '../../src/sdk/build.ts';
import { prune } from '../../src/upkeep/disk-usage.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds, type Files } from '../kit/builds.ts';
import { pushBase } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

let registry: TestRegistry;
let base: string;
const folder = mkdtempSync(join(tmpdir(), 'drydock-caches-'));

beforeAll(async () => {
  registry = await startRegistry();
  base = await pushBase(registry.host);
});
afterAll(async () => {
  await registry.stop();
  rmSync(folder, { recursive: true, force: true });
  await closePool();
});

/** Leaves a mark that no second run leaves. */
const mark = (file: string) => `cat /proc/sys/kernel/random/uuid > ${file}`;

onStores('a cache elsewhere', (store) => {
  /** Where caches are kept, under a name of each test's own. */
  const registryCache = (name: string, attrs: Record<string, string> = {}): CacheSpec => ({
    type: 'registry',
    attrs: { ref: `${registry.host}/cache/${store.kind}-${name}`, ...attrs },
  });
  const open: Builds[] = [];
  /** A machine that has built nothing yet. */
  const machine = async () => {
    const builds = new Builds();
    builds.engine = await openEngine({ root: join(builds.dir, 'root'), ...store.options() });
    open.push(builds);
    return builds;
  };
  afterEach(async () => {
    for (const builds of open.splice(0)) await builds.close();
  });

  let warnings: WarningEvent[];
  const build = async (
    builds: Builds,
    text: string,
    files: Files,
    options: Partial<DockerfileOptions> = {},
  ) => {
    warnings = [];
    return builds.build(text, files, {
      ...options,
      progress: {
        vertex: (event) => void builds.steps.set(event.name, event),
        warning: (event) => void warnings.push(event),
      },
    });
  };
  /** Steps of the last build that were run, and those that were not. */
  const steps = (builds: Builds, cached: boolean) =>
    [...builds.steps.values()].flatMap((step) => {
      const name = /\] ((?:RUN|COPY|WORKDIR) .*)/.exec(step.name)?.[1];
      return name !== undefined && (step.cached ?? false) === cached && step.completed !== undefined
        ? [name]
        : [];
    });
  const ran = (builds: Builds) => steps(builds, false);
  const cached = (builds: Builds) => steps(builds, true);

  const staged = () => `
    FROM ${base} AS one
    RUN mkdir /out && ${mark('/out/one')}
    COPY src /out/src
    RUN ${mark('/out/two')}
    FROM ${base}
    RUN ${mark('/three')}
    COPY --from=one /out /out
    RUN ${mark('/four')}`;
  const files = { 'src/a': 'a' };
  const marks = ({ read }: { read(path: string): string }) =>
    ['/out/one', '/out/two', '/three', '/four'].map(read);

  let max: CacheSpec;
  let min: CacheSpec;
  beforeAll(() => {
    max = registryCache('max', { mode: 'max' });
    min = registryCache('min');
  });
  const dest = join(folder, store.kind);
  const inlineImage = () => `${registry.host}/inline/${store.kind}:1`;
  const digestOfTag = async ({ attrs }: CacheSpec) => {
    const [host, ...path] = (attrs.ref as string).split('/');
    const answer = await fetch(`http://${host}/v2/${path.join('/')}/manifests/latest`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    return digestOf(await answer.text());
  };
  let first: { id: string; marks: string[] };

  test('one build writes any number of them', async () => {
    const built = await build(await machine(), staged(), files, {
      cacheTo: [
        max,
        min,
        { type: 'inline', attrs: {} },
        { type: 'local', attrs: { dest, mode: 'max', compression: 'zstd' } },
      ],
      tags: [inlineImage()],
      outputs: [{ type: 'image', attrs: { push: 'true' } }],
    });
    first = { id: built.id, marks: marks(built) };
    expect(warnings).toEqual([]);
    expect(readdirSync(dest).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  test('max: another machine runs nothing, and has the very same result', async () => {
    const builds = await machine();
    const second = await build(builds, staged(), files, { cacheFrom: [max] });
    expect(marks(second)).toEqual(first.marks);
    expect(ran(builds)).toEqual([]);
    expect(cached(builds)).toHaveLength(6);
    expect([...builds.steps.keys()]).toContain(`importing cache manifest from ${max.attrs.ref}:latest`);
    expect(warnings).toEqual([]);

    // What was fetched is in the local cache from now on.
    const third = await build(builds, staged(), files);
    expect(marks(third)).toEqual(first.marks);
    expect(ran(builds)).toEqual([]);
  });

  test('max: an image that may be incomplete is pushed, and nothing of it is fetched', async () => {
    if (store.kind === 'local') return; // its images are whole, so that they run without a registry
    const builds = await machine();
    const name = `${registry.host}/incomplete/app:1`;
    await build(builds, staged(), files, {
      cacheFrom: [max],
      tags: [name],
      outputs: [{ type: 'image', attrs: { push: 'true', 'unsafe-internal-store-allow-incomplete': 'true' } }],
    });
    expect(ran(builds)).toEqual([]);
    const { content, images } = builds.engine.store;
    const { target } = (await images.get(name))!;
    const { layers } = JSON.parse((await content.bytes(target.digest)).toString()) as Manifest;
    for (const { digest } of layers) expect(await content.info(digest)).toBeUndefined();
    const second = await machine();
    const pulled = await build(second, `FROM ${name}\nCOPY src /more`, files);
    expect(pulled.read('/three')).toBe(first.marks[2]);
  });

  test('an image that is only stored has its layers as the cache has them: built from there it is the same', async () => {
    const cache = registryCache('stored');
    const text = `FROM ${base}\nCOPY src /src\nRUN ${mark('/one')}`;
    const [first, second] = [await machine(), await machine()];
    await build(first, text, files, { tags: ['stored:1'], cacheTo: [cache] });
    await build(second, text, files, { tags: ['stored:1'], cacheFrom: [cache] });
    expect(ran(second)).toEqual([]);
    const stored = ({ engine }: Builds) => engine.store.images.get('docker.io/library/stored:1');
    expect((await stored(second))?.target).toEqual((await stored(first))?.target);
    if (store.kind !== 'local') return;
    // Where layers are snapshots, the image keeps no blobs that were packed for the cache alone.
    const { content } = first.engine.store;
    const { target } = (await stored(first))!;
    await first.engine.store.gc();
    const { layers } = JSON.parse((await content.bytes(target.digest)).toString()) as Manifest;
    expect(await content.info(layers.at(-1)!.digest)).toBeUndefined();
  });

  test('max: a changed step is run with all after it, on results of the steps before', async () => {
    const builds = await machine();
    const changed = { 'src/a': 'changed' };
    const second = await build(builds, staged(), changed, { cacheFrom: [max] });
    expect(ran(builds)).toEqual([
      'COPY src /out/src',
      expect.stringContaining('/out/two'),
      'COPY --from=one /out /out',
      expect.stringContaining('/four'),
    ]);
    expect([second.read('/out/one'), second.read('/three')]).toEqual([first.marks[0], first.marks[2]]);
    expect(second.read('/out/src/a')).toBe('changed');

    // A record on top of what was found elsewhere holds when that is not there any more.
    await build(builds, staged(), changed);
    expect(ran(builds)).toEqual([]);
  });

  test('min holds the layers of the image, and its keys lead past the stages below', async () => {
    const builds = await machine();
    const third = await build(builds, staged().replace('/four', '/five'), files, { cacheFrom: [min] });
    expect(ran(builds)).toEqual([expect.stringContaining('/five')]);
    expect(third.read('/out/one')).toBe(first.marks[0]);
    // A stage that is not in the image is built again when it is needed.
    await build(builds, staged().replace('/three', '/drei'), files, { cacheFrom: [min] });
    expect(ran(builds)).toEqual(
      expect.arrayContaining([expect.stringContaining('/out/one'), expect.stringContaining('/drei')]),
    );
  });

  test('what COPY --link adds is found also when what is below it has changed: in min and inline caches, too', async () => {
    const text = `
      FROM ${base} AS made
      RUN ${mark('/made')}
      FROM ${base}
      COPY --link src /src
      COPY --link --from=made /made /made`;
    const linked = registryCache('linked');
    const name = `${registry.host}/linked/${store.kind}:1`;
    const made = await build(await machine(), text, files, {
      cacheTo: [linked, { type: 'inline', attrs: {} }],
      tags: [name],
      outputs: [{ type: 'image', attrs: { push: 'true' } }],
    });
    for (const from of [linked, { type: 'registry', attrs: { ref: name } }]) {
      const builds = await machine();
      const again = await build(builds, text, { 'src/a': 'changed' }, { cacheFrom: [from] });
      expect(ran(builds).filter((step) => step.startsWith('RUN'))).toEqual([]);
      expect([again.read('/made'), again.read('/src/a')]).toEqual([made.read('/made'), 'changed']);
    }
  });

  test('a cache is exported again whole, to the byte, from a build that took all of it from there', async () => {
    const again = registryCache('again', { mode: 'max' });
    await build(await machine(), staged(), files, { cacheFrom: [max], cacheTo: [again] });
    expect(await digestOfTag(again)).toBe(await digestOfTag(max));
  });

  test('inline: in the image itself, pulled or in the store', async () => {
    const from: CacheSpec = { type: 'registry', attrs: { ref: inlineImage() } };
    const builds = await machine();
    // The image is the same, too: its cache goes into it again.
    const second = await build(builds, staged(), files, {
      cacheFrom: [from],
      buildArgs: { BUILDKIT_INLINE_CACHE: '1' },
      tags: ['app:1'],
    });
    expect(ran(builds)).toEqual([]);
    expect(second.id).toBe(first.id);
    // A cache of an image that is here is looked for here first.
    await prune(builds.engine, { all: true });
    expect(builds.engine.cache.list()).toEqual([]);
    const here: CacheSpec = { type: 'registry', attrs: { ref: 'app:1' } };
    const third = await build(builds, staged().replace('/four', '/five'), files, { cacheFrom: [here] });
    expect(ran(builds)).toEqual([expect.stringContaining('/five')]);
    expect(third.read('/three')).toBe(first.marks[2]);
  });

  test('local: a folder with an OCI layout, with a tag each', async () => {
    const from: CacheSpec = { type: 'local', attrs: { src: dest } };
    const builds = await machine();
    const second = await build(builds, staged(), files, { cacheFrom: [from] });
    expect(ran(builds)).toEqual([]);
    expect(marks(second)).toEqual(first.marks);

    const tagged: CacheSpec = { type: 'local', attrs: { dest, tag: 'two', 'image-manifest': 'false' } };
    await build(builds, `FROM ${base}\nRUN ${mark('/x')}`, {}, { cacheTo: [tagged] });
    const index = JSON.parse(readFileSync(join(dest, 'index.json'), 'utf8'));
    expect(index.manifests.map((each: { annotations: unknown }) => each.annotations)).toEqual([
      { 'org.opencontainers.image.ref.name': 'latest' },
      { 'org.opencontainers.image.ref.name': 'two' },
    ]);
    // An image manifest, as in a registry, unless it is not to be one.
    expect(index.manifests.map((each: { mediaType: string }) => each.mediaType)).toEqual([
      'application/vnd.oci.image.manifest.v1+json',
      'application/vnd.oci.image.index.v1+json',
    ]);
  });

  test('a build that made no layer writes none', async () => {
    const empty = join(folder, `${store.kind}-empty`);
    const cacheTo = [registryCache('empty'), { type: 'local', attrs: { dest: empty } }];
    await build(await machine(), `FROM ${base}\nENV a=b`, {}, { cacheTo });
    expect(existsSync(join(empty, 'index.json'))).toBe(false);
    const [host, ...path] = (registryCache('empty').attrs.ref as string).split('/');
    expect((await fetch(`http://${host}/v2/${path.join('/')}/tags/list`)).status).toBe(404);
  });

  describe('that cannot be had', () => {
    const text = `FROM BASE\nRUN ${mark('/one')}\nRUN ${mark('/two')}`;
    const simple = () => text.replace('BASE', base);

    test('is a warning, and the build goes on', async () => {
      const builds = await machine();
      await build(builds, simple(), {}, { cacheFrom: [registryCache('none')] });
      expect(warnings).toEqual([
        expect.objectContaining({
          short: expect.stringMatching(
            /^importing cache from 127.0.0.1:\d+\/cache\/\S+-none:latest: the registry 127.0.0.1:\d+ answered 404 \(.*\)/,
          ),
          detail: [expect.stringContaining('--cache-to')],
        }),
      ]);
      const nowhere: CacheSpec = { type: 'registry', attrs: { ref: '127.0.0.1:1/app' } };
      await build(builds, simple(), {}, { cacheFrom: [nowhere] });
      expect(warnings[0]?.short).toMatch(/cannot reach the registry 127.0.0.1:1 .*connection refused/);
      const noFolder: CacheSpec = { type: 'local', attrs: { src: join(folder, 'none') } };
      const unknown: CacheSpec = { type: 'gha', attrs: {} };
      await build(builds, simple(), {}, { cacheFrom: [noFolder, unknown] });
      expect(warnings.map(({ short }) => short)).toEqual([
        expect.stringContaining('there is no cache in'),
        expect.stringContaining('cache type=gha: token= is missing'),
      ]);
    });

    test('because layers are gone or broken: their steps are run', async () => {
      const dest = join(folder, `${store.kind}-broken`);
      await build(
        await machine(),
        simple(),
        {},
        { cacheTo: [{ type: 'local', attrs: { dest, mode: 'max' } }] },
      );
      const blobs = join(dest, 'blobs/sha256');
      const manifest = JSON.parse(readFileSync(join(dest, 'index.json'), 'utf8')).manifests[0].digest.slice(
        7,
      );
      const { layers } = JSON.parse(readFileSync(join(blobs, manifest), 'utf8'));
      const top = layers.at(-1) as { digest: string; size: number };
      const from: CacheSpec = { type: 'local', attrs: { src: dest } };
      const path = join(blobs, top.digest.slice(7));
      writeFileSync(path, Buffer.alloc(top.size, 'x'));
      const broken = await machine();
      const { read } = await build(broken, simple(), {}, { cacheFrom: [from] });
      expect(read('/two')).toMatch(/^[0-9a-f-]{36}\n$/);
      expect(warnings).toEqual([
        expect.objectContaining({ short: expect.stringContaining('the step is run instead') }),
      ]);
      rmSync(path);
      const gone = await machine();
      await build(gone, simple(), {}, { cacheFrom: [from] });
      expect(ran(gone)).toEqual([expect.stringContaining('/two')]);
      expect(cached(gone)).toEqual([expect.stringContaining('/one')]);
      writeFileSync(join(blobs, manifest), '{}');
      await build(gone, simple(), {}, { cacheFrom: [from] });
      expect(warnings[0]?.short).toMatch(/importing cache from local:.* has the digest/);
    });

    test('for writing fails the build, unless that is to be ignored', async () => {
      const builds = await machine();
      const nowhere: CacheSpec = { type: 'registry', attrs: { ref: '127.0.0.1:1/app' } };
      await expect(build(builds, simple(), {}, { cacheTo: [nowhere] })).rejects.toMatchObject({
        message: expect.stringMatching(/^exporting cache to 127.0.0.1:1\/app:latest: .*connection refused/),
        hop: 'registry',
      });
      const ignored = { ...nowhere, attrs: { ...nowhere.attrs, 'ignore-error': 'true' } };
      await build(builds, simple(), {}, { cacheTo: [ignored] });
      expect(warnings).toEqual([
        expect.objectContaining({ short: expect.stringContaining('connection refused') }),
      ]);
      const misspelt: CacheSpec = { type: 'registry', attrs: { ...nowhere.attrs, mode: 'maxi' } };
      await expect(build(builds, simple(), {}, { cacheTo: [misspelt] })).rejects.toMatchObject({
        message: expect.stringContaining('unknown mode "maxi"'),
      });
    });
  });
});
