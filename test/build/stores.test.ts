/** Builds, images and exports are the same on either store. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inspectImage } from '../../src/images/inspect.ts';
import { Builds } from '../kit/builds.ts';
import { pushBase } from '../kit/images.ts';
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
});
