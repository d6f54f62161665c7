/** Merges and diffs of trees that steps made: what a layer changed is laid over another tree, and nothing more. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { diff, image, merge, mkdir, mkfile, type State, scratch } from '../../src/llb/llb.ts';
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
});
