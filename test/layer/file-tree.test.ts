/** What each layer adds, changes and removes, and what later layers hide of it. */
import { describe, expect, test } from 'vitest';
import { FileTree, type LaidFile, type ListedFile } from '../../src/layer/file-tree.ts';

const file = (size: number, more: Partial<LaidFile> = {}): LaidFile => ({
  ...{ type: 'file', size, mode: 0o644, uid: 0, gid: 0 },
  ...more,
});
const folder = file(0, { type: 'dir', mode: 0o755 });

/** The lists of a layer, by folder, and its sums. */
function layerOf(tree: FileTree, layer: number) {
  const lists = new Map<string, ListedFile[]>();
  const listed = tree.listed(layer);
  for (let next = listed.next(); ; next = listed.next()) {
    if (next.done) {
      const states = (path: string) => lists.get(path)?.map(({ name, state }) => `${name} ${state}`);
      return { lists, states, sums: next.value };
    }
    lists.set(next.value.folder, next.value.files);
  }
}

function base(): FileTree {
  const tree = new FileTree();
  tree.put(0, 'etc', folder);
  tree.put(0, 'etc/a', file(10));
  tree.put(0, 'etc/b', file(20));
  tree.put(0, 'etc/deep', folder);
  tree.put(0, 'etc/deep/c', file(40));
  return tree;
}

describe('two layers', () => {
  test('overwriting wastes the lower bytes; a folder that is only passed through is the same', () => {
    const tree = base();
    tree.put(1, 'etc', folder);
    tree.put(1, 'etc/a', file(11));
    tree.put(1, 'etc/new', file(1));
    const upper = layerOf(tree, 1);
    expect(upper.states('/')).toEqual(['etc same']);
    expect(upper.states('/etc')).toEqual(['a changed', 'new added']);
    expect(upper.sums).toEqual({ files: 2, bytes: 12, wasted: 0, removed: 0 });
    const lower = layerOf(tree, 0);
    expect(lower.sums).toEqual({ files: 3, bytes: 70, wasted: 10, removed: 0 });
    expect(lower.lists.get('/etc')?.find(({ name }) => name === 'a')).toMatchObject({ goneAt: 1, size: 10 });
    expect(lower.lists.get('/')?.[0]?.below).toEqual(lower.sums);
  });

  test('a removed folder is one line with all of its bytes', () => {
    const tree = base();
    tree.remove(1, 'etc');
    const upper = layerOf(tree, 1);
    expect(upper.lists.get('/')).toEqual([
      expect.objectContaining({ name: 'etc', state: 'removed', size: 70 }),
    ]);
    expect(upper.sums).toEqual({ files: 0, bytes: 0, wasted: 0, removed: 70 });
    expect(layerOf(tree, 0).sums.wasted).toBe(70);
  });

  test.each([
    ['the mark comes first', true],
    ['the mark comes last', false],
  ])('an opaque folder removes what is below it and not in it: %s', (_, first) => {
    const tree = base();
    tree.put(1, 'etc', folder);
    if (first) tree.clear(1, 'etc');
    tree.put(1, 'etc/a', file(12));
    if (!first) tree.clear(1, 'etc');
    const upper = layerOf(tree, 1);
    expect(upper.states('/etc')).toEqual(['a changed', 'b removed', 'deep removed']);
    expect(upper.sums.removed).toBe(60);
    expect(layerOf(tree, 0).sums.wasted).toBe(70);
  });

  test('a file in place of a folder hides the folder; a folder in place of a file the file', () => {
    const tree = base();
    tree.put(1, 'etc/deep', file(1));
    tree.put(1, 'etc/a', folder);
    tree.put(1, 'etc/a/x', file(2));
    expect(layerOf(tree, 1).states('/etc')).toEqual(['a changed', 'deep changed']);
    expect(layerOf(tree, 0).sums.wasted).toBe(50);
  });

  test('whiteouts of nothing, and of folders that a tar does not name', () => {
    const tree = new FileTree();
    tree.put(0, 'usr/lib/x', file(5));
    tree.remove(1, 'usr/none');
    tree.remove(1, 'none/at/all');
    tree.remove(1, 'usr');
    tree.remove(2, 'usr');
    expect(layerOf(tree, 1).states('/')).toEqual(['usr removed']);
    expect(layerOf(tree, 1).sums.removed).toBe(5);
    expect(layerOf(tree, 2).lists.size).toBe(0);
    expect(layerOf(tree, 0).states('/usr')).toEqual(['lib same']);
  });
});

test('what comes again after it was removed is added, and wasted only once', () => {
  const tree = base();
  tree.remove(1, 'etc/a');
  tree.put(2, 'etc/a', file(13));
  expect(layerOf(tree, 2).states('/etc')).toEqual(['a added']);
  expect(layerOf(tree, 0).sums.wasted).toBe(10);
  expect(layerOf(tree, 0).lists.get('/etc')?.[0]?.goneAt).toBe(1);
});

test('a tar may name a file twice in one layer: the last one counts', () => {
  const tree = base();
  tree.put(1, 'etc/a', file(11));
  tree.put(1, 'etc/a', file(12));
  expect(layerOf(tree, 1).lists.get('/etc')).toEqual([
    expect.objectContaining({ state: 'changed', size: 12 }),
  ]);
});
