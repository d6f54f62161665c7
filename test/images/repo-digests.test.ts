/** The digest of an image that people are told is the one that its repository has, or would get: from the first on, and always. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inspectImage } from '../../src/images/inspect.ts';
import { listImages } from '../../src/images/list.ts';
import { pushImage } from '../../src/images/push.ts';
import { tagImage } from '../../src/images/tag.ts';
import { Builds } from '../kit/builds.ts';
import { pushBase } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());

onStores('digests of repositories', (store) => {
  const builds = new Builds();
  beforeAll(() => builds.open(store.options()));
  afterAll(() => builds.close());

  const named = (name: string) => `${registry.host}/${store.kind}/${name}`;
  /** What `images` and `inspect` tell, which is the same. */
  const told = async (name: string) => {
    const { RepoDigests, Id } = await inspectImage(builds.engine.store, name);
    const listed = (await listImages(builds.engine.store)).find(({ id }) => id === Id);
    expect(listed?.digests).toEqual(RepoDigests);
    return RepoDigests;
  };
  const push = async (name: string) => {
    const { target } = await pushImage(builds.engine.store, builds.engine.registry, name);
    const [, repository, tag] = /^[^/]+\/(.+):(.+)$/.exec(name)!;
    const answer = await fetch(`http://${registry.host}/v2/${repository}/manifests/${tag}`, {
      method: 'HEAD',
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    expect(answer.headers.get('docker-content-digest')).toBe(target.digest);
    return `${name.slice(0, name.lastIndexOf(':'))}@${target.digest}`;
  };

  test('none before a push has made one; then that one, also when the image is pushed or built again', async () => {
    const name = named('app:1');
    const build = () => builds.build('COPY f /f\nRUN echo built > /built', { f: 'f' }, { tags: [name] });
    await build();
    expect(await told(name)).toEqual([]);
    const digest = await push(name);
    expect(await told(name)).toEqual([digest]);
    expect(await push(name)).toBe(digest);
    expect(await told(name)).toEqual([digest]);
    await build();
    expect(await told(name)).toEqual([digest]);
    expect(await push(name)).toBe(digest);
  });

  test('of each repository that the image was pushed to', async () => {
    const [one, two] = [named('one:1'), named('two:1')];
    await builds.build('COPY f /two', { f: 'two' }, { tags: [one] });
    await tagImage(builds.engine.store, one, two);
    const first = await push(one);
    const others = (await told(one)).filter((digest) => digest !== first);
    // What would come of a push of the other is known by now.
    expect([await push(two)]).toEqual(others);
    expect(await told(two)).toEqual([first, ...others].sort());
  });

  test('an output that pushes has it at once, whatever its compression', async () => {
    for (const compression of ['gzip', 'zstd', 'uncompressed']) {
      const name = named(`out-${compression}:1`);
      const outputs = [{ type: 'image' as const, attrs: { push: 'true', compression } }];
      await builds.build(`COPY f /${compression}`, { f: compression }, { tags: [name], outputs });
      const [digest] = await told(name);
      expect(await push(name)).toBe(digest);
    }
  });

  test('an image that a push would not change is told by the digest that it would get', async () => {
    const base = await pushBase(registry.host);
    const name = named('env:1');
    await builds.build(`FROM ${base}\nENV a=b`, {}, { tags: [name] });
    const [digest] = await told(name);
    expect(await push(name)).toBe(digest);
  });
});
