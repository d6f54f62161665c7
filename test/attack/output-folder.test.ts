/** A frontend is somebody's program in an image: what it calls its results leads nowhere out of the output folder. */
import { expect, test } from 'vitest';
import { platformTrees } from '../../src/exporter/platform-folders.ts';
import type { ExportContext } from '../../src/exporter/types.ts';
import { hostPlatform } from '../../src/oci/platform.ts';

const ctx = {} as ExportContext;
const config = { ...hostPlatform(), rootfs: { type: 'layers' as const, diff_ids: [] } };
const want = (platformSplit?: boolean) => ({ platformSplit, attestationPrefix: '' });
const named = (id: string) => [{ ref: undefined, platform: hostPlatform(), config, id }];

test.each(['.', '..', 'a\0b'])('a platform called %j has no folder', async (id) => {
  await expect(platformTrees(named(id), want(true), ctx)).rejects.toMatchObject({
    code: 'invalid',
    hop: 'export',
    message: `the result's platform ${JSON.stringify(id)} is no name of a folder`,
  });
  // All in one place, no folder is named after it.
  expect(await platformTrees(named(id), want(false), ctx)).toMatchObject([{ folder: '' }]);
});

test('parts of a path are one name', async () => {
  expect(await platformTrees(named('../../etc'), want(true), ctx)).toMatchObject([{ folder: '.._.._etc' }]);
});

test('two platforms of one folder are refused before anything is written', async () => {
  const both = [...named('a/b'), ...named('a_b')];
  await expect(platformTrees(both, want(), ctx)).rejects.toMatchObject({
    code: 'invalid',
    hop: 'export',
    message: `the results' platforms "a/b" and "a_b" have one folder, a_b`,
  });
  const apart = await platformTrees([...named('a/b'), ...named('a/c')], want(), ctx);
  expect(apart.map(({ folder }) => folder)).toEqual(['a_b', 'a_c']);
});

test('a platform that was asked for twice is written once, into the folder of its name', async () => {
  const twice = [...named('linux/amd64'), ...named('linux/amd64')];
  expect(await platformTrees(twice, want(), ctx)).toMatchObject([
    { name: 'linux/amd64', folder: 'linux_amd64' },
  ]);
  expect(await platformTrees(twice, want(false), ctx)).toMatchObject([{ name: 'linux/amd64', folder: '' }]);
});
