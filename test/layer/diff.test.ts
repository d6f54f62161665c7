import {
  chmodSync,
  cpSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { openView } from '../../src/fs/open.ts';
import { packSnapshot } from '../../src/layer/blobs.ts';
import { convertBlob } from '../../src/layer/convert.ts';
import { diffViews } from '../../src/layer/diff.ts';
import { lsetxattr } from '../../src/linux/libc.ts';
import type { Store } from '../../src/store/store.ts';
import { closePool } from '../../src/workers/pool.ts';
import { entriesOf, lease, step, withContent, withStore } from './kit.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-diff-'));
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await closePool();
});
const lower = join(dir, 'lower');
const upper = join(dir, 'upper');

beforeEach(() => {
  for (const tree of [lower, upper]) rmSync(tree, { recursive: true, force: true });
  mkdirSync(join(lower, 'a/b/c'), { recursive: true });
  for (const path of ['a/b/c/deep', 'a/x', 'top', 'whole-second']) writeFileSync(join(lower, path), path);
  utimesSync(join(lower, 'whole-second'), 1000, 1000);
  symlinkSync('top', join(lower, 'link'));
  cpSync(lower, upper, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  // cp keeps whole milliseconds only.
  for (const path of ['a/b/c/deep', 'a/x', 'top']) {
    for (const tree of [lower, upper]) utimesSync(join(tree, path), 2000.5, 2000.5);
  }
});

function changes(): string[] {
  const layers = (tree: string) => openView({ kind: 'layers', dirs: [tree] });
  return [...diffViews(layers(lower), layers(upper))]
    .filter(({ path }) => path !== '/link')
    .map(({ kind, path }) => `${kind} ${path}`);
}

test('equal trees have no changes; a folder’s time is none', () => {
  utimesSync(join(upper, 'a'), 5, 5);
  expect(changes()).toEqual([]);
});

test('a change comes with the folders above it, in the order of a walk', () => {
  writeFileSync(join(upper, 'a/b/c/deep'), 'other');
  rmSync(join(upper, 'a/x'));
  writeFileSync(join(upper, 'a/b/new'), '');
  expect(changes()).toEqual([
    'modify /a',
    'modify /a/b',
    'modify /a/b/c',
    'modify /a/b/c/deep',
    'add /a/b/new',
    'delete /a/x',
  ]);
});

test('names that a file has outside of the trees do not count', () => {
  for (const [tree, path] of [
    [lower, 'top'],
    [upper, 'whole-second'],
  ] as const)
    linkSync(join(tree, path), join(dir, `elsewhere-${path}`));
  expect(changes()).toEqual([]);
  linkSync(join(upper, 'top'), join(upper, 'second'));
  expect(changes()).toEqual(['add /second', 'modify /top']);
});

test('modes, attributes, links and kinds count', () => {
  chmodSync(join(upper, 'top'), 0o600);
  lsetxattr(join(upper, 'a/x'), 'user.k', Buffer.from('v'));
  linkSync(join(upper, 'a/b/c/deep'), join(upper, 'hard'));
  rmSync(join(upper, 'whole-second'));
  mkdirSync(join(upper, 'whole-second'));
  expect(changes()).toEqual([
    'modify /a',
    'modify /a/b',
    'modify /a/b/c',
    'modify /a/b/c/deep',
    'modify /a/x',
    'add /hard',
    'modify /top',
    'add /whole-second',
  ]);
});

test('with times of whole seconds the bytes decide', () => {
  writeFileSync(join(upper, 'whole-second'), 'WHOLE-second');
  utimesSync(join(upper, 'whole-second'), 1000, 1000);
  expect(changes()).toEqual(['modify /whole-second']);
});

test('overlayfs and native snapshots give layers with the same entries', async () => {
  const entries = (snapshotter: 'overlayfs' | 'native') =>
    withStore(snapshotter, async (store) => {
      const below = await step(store, 'below', undefined, (root) => {
        mkdirSync(join(root, 'd/e'), { recursive: true });
        writeFileSync(join(root, 'd/e/f'), 'f');
        writeFileSync(join(root, 'd/g'), 'g');
      });
      const key = await step(store, 'key', below, (root) => {
        renameSync(join(root, 'd/g'), join(root, 'd/h'));
        writeFileSync(join(root, 'd/e/f'), 'changed');
      });
      const made = await packSnapshot(store, key, {
        compression: { type: 'uncompressed' },
        store: 'blob',
        lease,
      });
      return [...entriesOf(await store.content.bytes(made.descriptor.digest))].map(
        ([path, e]) => `${e.type} ${path} ${e.body}`,
      );
    });
  const overlay = await entries('overlayfs');
  expect(overlay).toEqual(['dir d ', 'dir d/e ', 'file d/e/f changed', 'file d/.wh.g ', 'file d/h g']);
  expect(await entries('native')).toEqual(overlay);
});

test('a layer put on another parent is packed anew when it hides things', () =>
  withStore('overlayfs', async (store) => {
    const options = { compression: { type: 'uncompressed' }, store: 'blob', lease } as const;
    const one = await step(store, 'one', undefined, (root) => writeFileSync(join(root, 'f'), 'f'));
    const two = await step(store, 'two', undefined, (root) => writeFileSync(join(root, 'g'), 'g'));
    const gone = await step(store, 'gone', one, (root) => rmSync(join(root, 'f')));
    const paths = async (key: string) => [
      ...entriesOf(
        await store.content.bytes((await packSnapshot(store, key, options)).descriptor.digest),
      ).keys(),
    ];
    expect(await paths(gone)).toEqual(['.wh.f']);
    await store.snapshots.restack?.('elsewhere', gone, two, { lease });
    expect(await paths('elsewhere')).toEqual([]);
  }));

test.each([false, true])(
  'a blob is brought to another compression, its tar unchanged (streamed: %s)',
  (streamed) =>
    withStore('overlayfs', async (real: Store) => {
      const store = streamed ? withContent(real, { adopt: undefined, localPath: undefined }) : real;
      const key = await step(real, 'k', undefined, (root) =>
        writeFileSync(join(root, 'f'), 'text '.repeat(900_000)),
      );
      const gzip = await packSnapshot(real, key, { compression: { type: 'gzip' }, store: 'blob', lease });
      const zstd = await convertBlob(store, gzip.descriptor, { type: 'zstd' }, { lease });
      expect([zstd.diffId, zstd.size]).toEqual([gzip.diffId, gzip.size]);
      const packed = await packSnapshot(real, key, {
        compression: { type: 'zstd' },
        store: 'hash-only',
        lease,
      });
      expect(zstd).toEqual({ ...packed, tarId: gzip.diffId });
      expect((await real.content.info(zstd.descriptor.digest))?.size).toBe(zstd.descriptor.size);
    }),
);
