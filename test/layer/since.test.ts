/** What has changed in a plain folder since a list of it was written. */
import {
  chmodSync,
  linkSync,
  lutimesSync,
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
import { afterEach, beforeEach, expect, test } from 'vitest';
import { walkSince } from '../../src/layer/since.ts';
import { comparePaths, readList } from '../../src/layer/tree-list.ts';

let top: string;
let dir: string;
let lists = 0;
let last: string | undefined;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'drydock-since-'));
  dir = join(top, 'tree');
  mkdirSync(dir);
  last = undefined;
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

/** The changes since the last call. */
const changes = async () => {
  // What was changed this very moment counts as changed once more.
  await new Promise((resolve) => setTimeout(resolve, 120));
  const out = join(top, `list-${++lists}`);
  const found = [...walkSince({ dir, list: last, out })].map((item) =>
    item.kind === 'entry' ? item.entry.path : `-${item.kind === 'whiteout' ? item.path : ''}`,
  );
  last = out;
  return found;
};
const put = (path: string, text = path) => writeFileSync(join(dir, path), text);

test('all, then nothing, then what is new, other or gone', async () => {
  mkdirSync(join(dir, 'a/b'), { recursive: true });
  for (const path of ['a/b/x', 'a/y', 'a.b', 'z']) put(path);
  symlinkSync('z', join(dir, 'soft'));
  expect(await changes()).toEqual(['/a', '/a/b', '/a/b/x', '/a/y', '/a.b', '/soft', '/z']);
  expect(await changes()).toEqual([]);

  put('a/b/x', 'a/b/X'); // of the same size
  put('new');
  rmSync(join(dir, 'z'));
  chmodSync(join(dir, 'a'), 0o700);
  expect(await changes()).toEqual(['/a', '/a/b/x', '/new', '-/z']);
  expect(await changes()).toEqual([]);
});

test('a folder that is gone is one whiteout, also when a file takes its place', async () => {
  mkdirSync(join(dir, 'a/b'), { recursive: true });
  mkdirSync(join(dir, 'c'));
  for (const path of ['a/b/x', 'c/y', 'd']) put(path);
  await changes();
  rmSync(join(dir, 'a'), { recursive: true });
  rmSync(join(dir, 'c'), { recursive: true });
  rmSync(join(dir, 'd'));
  put('c');
  mkdirSync(join(dir, 'd'));
  put('d/e');
  expect(await changes()).toEqual(['-/a', '/c', '/d', '/d/e']);
});

test('a file of the same size and time is found by its change time', async () => {
  put('whole');
  const time = new Date(1_700_000_000_000);
  utimesSync(join(dir, 'whole'), time, time);
  await changes();
  put('whole', 'WHOLE');
  utimesSync(join(dir, 'whole'), time, time);
  expect(await changes()).toEqual(['/whole']);
});

test('a change time alone is none, where the file has a time of its own', async () => {
  put('f');
  symlinkSync('f', join(dir, 'l'));
  utimesSync(join(dir, 'f'), 1_700_000_000.5, 1_700_000_000.5);
  lutimesSync(join(dir, 'l'), 1_700_000_000.5, 1_700_000_000.5);
  await changes();
  chmodSync(join(dir, 'f'), 0o644);
  expect(await changes()).toEqual([]);
});

test('a new link changes all names of its file', async () => {
  put('a');
  await changes();
  linkSync(join(dir, 'a'), join(dir, 'b'));
  expect(await changes()).toEqual(['/a', '/b']);
  renameSync(join(dir, 'b'), join(dir, 'c'));
  expect(await changes()).toContain('/c');
});

test('paths are ordered as they are walked', () => {
  const sorted = ['/a', '/a/b', '/a/b/c', '/a-b', '/a.b', '/ab'];
  expect([...sorted].reverse().sort(comparePaths)).toEqual(sorted);
});

test('a list that ends in the middle is none', () => {
  const path = join(top, 'half');
  writeFileSync(path, '["/a","file",420,0,0,1,"1","1","1",1,""]\n["/b"');
  expect(() => [...readList(path)]).toThrow('ends in the middle');
});
