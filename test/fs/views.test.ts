import { chmodSync, statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openView } from '../../src/fs/open.ts';
import { readFileIn, statFollow } from '../../src/fs/read.ts';
import { resolvePath } from '../../src/fs/resolve.ts';
import { lsetxattr } from '../../src/linux/libc.ts';
import { kernelLines, layers, lines, paths, plant, scratch } from './trees.ts';

describe('layers', () => {
  test('merge as the kernel merges them: whiteouts, opaque folders, files over folders', async () => {
    using tmp = scratch();
    const low = plant(tmp.path('low'), {
      'etc/passwd': 'low',
      'etc/hosts': 'low',
      'opt/a/b': 'low',
      'gone/x': 'x',
      'was-dir/x': 'x',
      'was-file': 'x',
      'usr/lib': '-> lib64',
      'usr/lib64/so': 'so',
    });
    const mid = plant(tmp.path('mid'), {
      'etc/passwd': 'mid',
      'opt/a/c': 'mid',
      gone: 'whiteout',
      'was-dir': 'now a file',
      'was-file/inner': 'x',
    });
    const top = plant(tmp.path('top'), {
      'etc/hosts': 'whiteout',
      'opt/a/d': 'top',
      'gone/again': 'x',
      'was-dir/new': 'x',
      'never-there': 'whiteout',
    });
    lsetxattr(tmp.path('top/opt/a'), 'trusted.overlay.opaque', Buffer.from('y'));
    lsetxattr(tmp.path('top/opt/a/d'), 'user.note', Buffer.from('kept'));
    const spec = layers(top, mid, low);
    expect(paths(spec)).toEqual([
      '/etc',
      '/etc/passwd',
      '/gone',
      '/gone/again',
      '/opt',
      '/opt/a',
      '/opt/a/d',
      '/usr',
      '/usr/lib',
      '/usr/lib64',
      '/usr/lib64/so',
      '/was-dir',
      '/was-dir/new',
      '/was-file',
      '/was-file/inner',
    ]);
    const view = openView(spec);
    expect(lines(view, { times: true })).toEqual(await kernelLines([top, mid, low], { times: true }));
    expect(view.lstat('/etc/passwd')?.hostPath).toBe(tmp.path('mid/etc/passwd'));
    expect(view.lstat('/etc/hosts')).toBeUndefined();
    expect(view.lstat('/opt/a/b')).toBeUndefined();
    expect(view.lstat('/etc/passwd/x')).toBeUndefined();
    expect(view.lstat('/usr/lib/so')).toBeUndefined();
    expect(() => view.readdir('/nowhere')).toThrow(expect.objectContaining({ code: 'not-found' }));
    expect(() => view.readdir('/usr/lib')).toThrow(expect.objectContaining({ code: 'invalid' }));
  });

  test('names come in byte order', () => {
    using tmp = scratch();
    plant(tmp.dir, { a: '', B: '', é: '', '\u{1f600}': '', '\uff5e': '', 'a.b': '' });
    const names = openView(layers(tmp.dir))
      .readdir('/')
      .map((entry) => entry.name);
    expect(names).toEqual([...names].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y))));
  });

  test('the empty view has a root and nothing in it', () => {
    const view = openView({ kind: 'empty' });
    expect(view.lstat('/')).toMatchObject({ type: 'dir', mode: 0o755 });
    expect(view.readdir('/')).toEqual([]);
    expect(view.lstat('/x')).toBeUndefined();
  });
});

describe('a build context', () => {
  const plan = {
    Dockerfile: 'FROM scratch',
    'src/main.ts': 'main',
    'src/lib/a.ts': 'a',
    'src/lib/b.js': 'b',
    'node_modules/x/index.js': 'x',
    'node_modules/keep/index.js': 'k',
    'docs/readme.md': 'r',
    link: '-> src/lib',
    'empty/': null,
  };

  test('shows all as root:root, its own folder as 0755', () => {
    using tmp = scratch();
    plant(tmp.dir, { f: { text: 'x', uid: 7, gid: 8, mode: 0o640 } });
    chmodSync(tmp.dir, 0o700);
    const view = openView({ kind: 'folder', dir: tmp.dir, rootOwned: true });
    expect(view.lstat('/f')).toMatchObject({ uid: 0, gid: 0, mode: 0o640 });
    expect(view.lstat('/')).toMatchObject({ uid: 0, gid: 0, mode: 0o755 });
    const raw = openView({ kind: 'folder', dir: tmp.dir, rootOwned: false });
    expect(raw.lstat('/f')).toMatchObject({ uid: 7, gid: 8 });
  });

  test.each<[string, { excludes?: string[]; includes?: string[]; followPaths?: string[] }, string[]]>([
    [
      'excludes',
      { excludes: ['node_modules', 'docs', 'src/lib', 'empty', 'link'] },
      ['/Dockerfile', '/src', '/src/main.ts'],
    ],
    [
      'exceptions bring their folders back',
      { excludes: ['**', '!node_modules/keep'] },
      ['/node_modules', '/node_modules/keep', '/node_modules/keep/index.js'],
    ],
    ['includes', { includes: ['**/*.ts'] }, ['/src', '/src/lib', '/src/lib/a.ts', '/src/main.ts']],
    [
      'includes and excludes',
      { includes: ['src'], excludes: ['**/*.js'] },
      ['/src', '/src/lib', '/src/lib/a.ts', '/src/main.ts'],
    ],
    [
      'follow-paths lead through links',
      { followPaths: ['link/a.ts', 'Docker*'] },
      ['/Dockerfile', '/link', '/src', '/src/lib', '/src/lib/a.ts'],
    ],
    ['a follow-path that is not there selects nothing', { followPaths: ['nope'] }, []],
    [
      'a folder that a wildcard looks in is there, even if nothing matches',
      { followPaths: ['src/lib/*.zig', 'docs/*.zig'], excludes: ['docs'] },
      ['/src', '/src/lib'],
    ],
    ['nothing matches', { includes: ['*.zig'] }, []],
  ])('%s', (_, filter, expected) => {
    using tmp = scratch();
    plant(tmp.dir, plan);
    expect(paths({ kind: 'folder', dir: tmp.dir, rootOwned: true, ...filter })).toEqual(expected);
    const view = openView({ kind: 'folder', dir: tmp.dir, rootOwned: true, ...filter });
    for (const path of ['/Dockerfile', '/src/lib/b.js', '/node_modules/x', '/empty']) {
      expect(view.lstat(path) !== undefined).toBe(expected.includes(path));
    }
  });

  test('following the root follows everything', () => {
    using tmp = scratch();
    plant(tmp.dir, plan);
    const all = paths({ kind: 'folder', dir: tmp.dir, rootOwned: true });
    expect(all).toContain('/empty');
    expect(paths({ kind: 'folder', dir: tmp.dir, rootOwned: true, followPaths: ['src/..'] })).toEqual(all);
  });

  test('a folder that is not there is an error of the context', () => {
    expect(() => openView({ kind: 'folder', dir: '/nowhere/at/all', rootOwned: true })).toThrow(
      expect.objectContaining({ code: 'not-found', hop: 'context' }),
    );
  });
});

describe('paths inside a view', () => {
  test('links are followed inside it, and never out of it', () => {
    using tmp = scratch();
    plant(tmp.dir, {
      'etc/passwd': 'inside',
      abs: '-> /etc',
      up: '-> ../../../../etc/passwd',
      'a/rel': '-> ../abs/passwd',
      loop: '-> loop2',
      loop2: '-> loop',
      dangling: '-> /not/here',
    });
    const view = openView(layers(tmp.dir));
    const at = (path: string, followLast = true) => resolvePath(view, path, { followLast });
    expect(at('/abs/passwd')).toBe('/etc/passwd');
    expect(at('/up')).toBe('/etc/passwd');
    expect(at('/up', false)).toBe('/up');
    expect(at('a/rel')).toBe('/etc/passwd');
    expect(at('/abs/../x')).toBe('/x');
    expect(at('/../../etc')).toBe('/etc');
    expect(at('/dangling/x')).toBe('/not/here/x');
    expect(() => at('/loop')).toThrow(/too many levels of symbolic links/);
    expect(readFileIn(view, '/a/rel')?.toString()).toBe('inside');
    expect(readFileIn(view, '/dangling')).toBeUndefined();
    expect(() => readFileIn(view, '/abs')).toThrow(expect.objectContaining({ code: 'invalid' }));
    expect(() => readFileIn(view, '/up', 3)).toThrow(/larger than 3 bytes/);
    expect(statFollow(view, '/abs')?.ino).toBe(BigInt(statSync(tmp.path('etc')).ino));
  });
});
