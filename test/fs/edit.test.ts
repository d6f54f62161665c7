import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { FileActionSpec } from '../../src/fs/actions.ts';
import { parseMode } from '../../src/fs/chmod.ts';
import { openView } from '../../src/fs/open.ts';
import { build, kernelLines, layers, lines, paths, plant, scratch } from './trees.ts';

const mkdir = (path: string, more: object = {}): FileActionSpec => ({
  kind: 'mkdir',
  path,
  mode: 0o755,
  makeParents: true,
  timestampNs: 7n,
  ...more,
});
const mkfile = (path: string, text: string, more: object = {}): FileActionSpec => ({
  kind: 'mkfile',
  path,
  mode: 0o644,
  data: Buffer.from(text),
  timestampNs: 7n,
  ...more,
});
const rm = (path: string, more: object = {}): FileActionSpec => ({
  kind: 'rm',
  path,
  allowNotFound: false,
  allowWildcard: false,
  ...more,
});

describe('mkdir, mkfile, symlink', () => {
  test('make things with owner, mode and time', async () => {
    using tmp = scratch();
    const result = await build(
      tmp.path('up'),
      [],
      [
        mkdir('/a/b', { owner: { user: { id: 5 }, group: { id: 6 } }, mode: 0o700 }),
        mkfile('/f', 'text', { owner: { user: { id: 5 } }, mode: 0o4600 }),
        { kind: 'symlink', oldpath: '../x', newpath: '/l', owner: { group: { id: 3 } }, timestampNs: 7n },
      ],
    );
    expect(lines(openView(layers(tmp.path('up'))), { times: true })).toEqual([
      '/a dir 700 5:6 7',
      '/a/b dir 700 5:6 7',
      '/f file 600 5:5 "text" 7',
      '/l symlink 777 0:3 -> ../x 7',
    ]);
    expect(result).toEqual({ entries: 4, bytes: 4 });
  });

  test('a folder that is there stays as it is; a file keeps its mode and gets new bytes', async () => {
    using tmp = scratch();
    const low = plant(tmp.path('low'), {
      'd/x': 'x',
      f: { text: 'old', uid: 3, gid: 4, mode: 0o751 },
      l: '-> d/new',
    });
    await build(
      tmp.path('up'),
      [low],
      [mkdir('/d', { mode: 0o700 }), mkfile('/f', 'new'), mkfile('/l', 'via link')],
    );
    expect(lines(openView(layers(tmp.path('up'), low)))).toEqual([
      '/d dir 755 0:0',
      '/d/new file 644 0:0 "via link"',
      '/d/x file 644 0:0 "x"',
      '/f file 751 3:4 "new"',
      '/l symlink 777 0:0 -> d/new',
    ]);
    expect(readFileSync(`${low}/f`, 'utf8')).toBe('old');
  });

  test.each<[string, FileActionSpec, string, RegExp]>([
    ['no parent', mkfile('/no/f', ''), 'not-found', /open \/no\/f: no such file or directory/],
    ['no parent', mkdir('/no/d', { makeParents: false }), 'not-found', /mkdir \/no\/d/],
    ['a folder is no file', mkfile('/d', ''), 'invalid', /open \/d: is a directory/],
    ['a file is no folder', mkdir('/f/d'), 'invalid', /\/f: not a directory/],
    ['a link where something is', { kind: 'symlink', oldpath: 'x', newpath: '/f' }, 'exists', /file exists/],
    ['rm of nothing', rm('/nope'), 'not-found', /rm \/nope: no such file or directory/],
    ['rm of the root', rm('/'), 'invalid', /the root cannot be removed/],
  ])('%s is an error', async (_, action, code, message) => {
    using tmp = scratch();
    const low = plant(tmp.path('low'), { f: 'x', 'd/x': 'x' });
    await expect(build(tmp.path('up'), [low], [action])).rejects.toMatchObject({
      code,
      hop: 'file',
      message: expect.stringMatching(message),
    });
  });
});

describe('rm', () => {
  test('leaves whiteouts only where something was below', async () => {
    using tmp = scratch();
    const low = plant(tmp.path('low'), { 'd/x': 'x', 'd/y': 'y', f: 'f', l: '-> d', 'e/z': 'z' });
    const gone = { allowNotFound: true };
    await build(
      tmp.path('up'),
      [low],
      [
        mkfile('/only-here', 'x'),
        rm('/only-here'),
        rm('/d/x'),
        rm('/f'),
        rm('/l/y'),
        rm('/e'),
        rm('/nothing', gone),
      ],
    );
    const dirs = [tmp.path('up'), low];
    expect(paths(layers(...dirs))).toEqual(['/d', '/l']);
    expect(await kernelLines(dirs)).toEqual(lines(openView(layers(...dirs))));
    // The layer itself, with its whiteouts, as plain files.
    const { readdirSync } = await import('node:fs');
    expect(readdirSync(tmp.path('up'), { recursive: true }).sort()).toEqual(['d', 'd/x', 'd/y', 'e', 'f']);
  });

  test('a folder made again where one was removed does not bring the old files back', async () => {
    using tmp = scratch();
    const low = plant(tmp.path('low'), { 'd/x': 'x', 'd/sub/y': 'y' });
    await build(tmp.path('up'), [low], [rm('/d'), mkdir('/d/sub'), mkfile('/d/new', 'n')]);
    const dirs = [tmp.path('up'), low];
    expect(paths(layers(...dirs))).toEqual(['/d', '/d/new', '/d/sub']);
    expect(await kernelLines(dirs)).toEqual(lines(openView(layers(...dirs))));
  });

  test('wildcards', async () => {
    using tmp = scratch();
    const low = plant(tmp.path('low'), { 'a/x.o': '', 'b/y.o': '', 'b/y.c': '', 'x.o': '' });
    await build(tmp.path('up'), [low], [rm('/*/*.o', { allowWildcard: true })]);
    expect(paths(layers(tmp.path('up'), low))).toEqual(['/a', '/b', '/b/y.c', '/x.o']);
  });
});

test.each<[string, number, boolean, number]>([
  ['755', 0o600, false, 0o755],
  ['07755', 0o600, false, 0o7755],
  ['u+x', 0o644, false, 0o744],
  ['+x', 0o644, false, 0o755],
  ['a=rX', 0o700, false, 0o555],
  ['a=rX', 0o600, false, 0o444],
  ['a=rX', 0o600, true, 0o555],
  ['u=rwX,go=rX', 0o640, true, 0o755],
  ['g=u', 0o750, false, 0o770],
  ['o-rwx', 0o777, false, 0o770],
  ['g+s,+t', 0o755, true, 0o3755],
  ['u-s', 0o4755, false, 0o755],
  ['u+r-w+x', 0o200, false, 0o500],
  ['=', 0o7777, false, 0],
])('chmod %s of %o', (text, mode, isDir, expected) => {
  expect(parseMode(text)(mode, isDir).toString(8)).toBe(expected.toString(8));
});

test.each(['', '8', '10000', 'u', 'u+q', 'u+x,', 'z+x'])('chmod %j is refused', (text) => {
  expect(() => parseMode(text)).toThrow(/invalid chmod parameter/);
});
