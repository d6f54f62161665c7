/** Merges and diffs of trees that steps made: what a layer changed is laid over another tree, and nothing more. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { diff, image, merge, mkdir, mkfile, type State, scratch } from '../../src/llb/llb.ts';
import type { VertexEvent } from '../../src/progress/events.ts';
import { buildState } from '../../src/sdk/build.ts';
import { Builds } from '../kit/builds.ts';
import { onStores } from '../kit/stores.ts';

onStores('merge and diff', (store) => {
  const builds = new Builds();
  beforeAll(() => builds.open(store.options()));
  afterAll(() => builds.close());

  const base = () => image('base').file([mkdir('/bar'), mkfile('/bar/A', 'A'), mkfile('/bar/kept', 'k')]);
  const sh = (state: State, script: string) => state.run(['/bin/sh', '-c', script]).root();
  const other = scratch().file([mkdir('/bar'), mkfile('/bar/A', 'other A'), mkfile('/bar/E', 'E')]);

  async function listOf(state: State, folder: string): Promise<string[]> {
    await buildState(state, { engine: builds.engine, tags: ['tree'] });
    return (await builds.look('tree')).list(folder);
  }

  test('a folder that a step made anew hides only what the step found in it', async () => {
    const anew = sh(base(), 'rm -rf /bar; mkdir -p /bar/sub; touch /bar/D /bar/sub/x');
    const wanted = ['/bar/D', '/bar/E', '/bar/sub/', '/bar/sub/x'];
    expect(await listOf(merge([other, anew]), '/bar')).toEqual(wanted);
    expect(await listOf(merge([other, diff(base(), anew)]), '/bar')).toEqual(wanted);
    // Laid on once more it still deletes what it deleted, and no more.
    const twice = merge([diff(base(), anew), scratch().file(mkfile('/z', 'z'))]);
    expect(await listOf(merge([other, twice]), '/bar')).toEqual(wanted);
  });

  test('a new folder, which overlayfs marks as one that hides, hides nothing', async () => {
    const made = diff(image('base'), sh(image('base'), 'mkdir /bar; touch /bar/B'));
    expect(await listOf(merge([other, made]), '/bar')).toEqual(['/bar/A', '/bar/B', '/bar/E']);
  });

  test('what a step has touched and left as it was is not in its diff', async () => {
    const moved = sh(base(), 'mv /bar/kept /bar/x; mv /bar/x /bar/kept; touch /new');
    expect(await listOf(diff(base(), moved), '/')).toEqual(['/new']);
  });

  test('a folder in place of a file hides no other folder', async () => {
    const file = scratch().file(mkfile('/bar', 'a file'));
    const folder = scratch().file([mkdir('/bar'), mkfile('/bar/B', 'B')]);
    expect(await listOf(merge([other, diff(file, folder)]), '/bar')).toEqual(['/bar/A', '/bar/B', '/bar/E']);
  });

  test('trees are stacked when somebody wants the tree; its record keeps their parts, and then the tree', async () => {
    const file = (name: string) => scratch().file(mkfile(name, name, { timestampNs: 0n }));
    const inner = merge([base(), file('/lazy-1')]);
    const merged = merge([inner, file('/lazy-2'), file('/lazy-3')]);
    const { store, cache } = builds.engine;
    const merges = async () =>
      (await store.snapshots.list()).filter(({ key }) => key.startsWith('merge-')).map(({ key }) => key);
    const records = () => cache.list().flatMap(({ results }) => (results ?? []).map((result) => result.kind));
    const before = await merges();
    const kinds = new Map<string, VertexEvent>();
    const solve = (state: State, tags: string[] = []) =>
      buildState(state, {
        engine: builds.engine,
        tags,
        outputs: tags.length > 0 ? [] : [{ type: 'cacheonly', attrs: {} }],
        progress: { vertex: (event) => void kinds.set(event.name, event) },
      });

    await solve(merged);
    expect(await merges()).toEqual(before);
    expect(records().filter((kind) => kind === 'merge')).toHaveLength(2);

    // The parts outlive the build, and are all that the next one needs.
    await store.gc();
    await solve(merged.file(mkfile('/top', 'top')));
    const named = [...kinds.values()].filter(({ name }) => name.startsWith('merge'));
    expect(named.map(({ cached }) => cached)).toEqual([true, true]);
    const made = (await merges()).filter((key) => !before.includes(key));
    expect(made).toHaveLength(2);
    // The inner one was wanted as a part of the outer one; its own record is asked for no sooner than its own tree.
    expect(records().filter((kind) => kind === 'merge')).toHaveLength(1);
    await solve(inner.file(mkfile('/top', 'top')));
    expect(records().filter((kind) => kind === 'merge')).toHaveLength(0);

    // So does the tree.
    await store.gc();
    await solve(merged, ['tree']);
    expect(await merges()).toEqual(expect.arrayContaining(made));
    const tree = await builds.look('tree');
    expect(['/lazy-1', '/lazy-2', '/lazy-3', '/bar/kept'].map((path) => tree.read(path))).toEqual([
      '/lazy-1',
      '/lazy-2',
      '/lazy-3',
      'k',
    ]);
  });
});
