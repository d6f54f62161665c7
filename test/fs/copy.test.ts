import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  lutimesSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openView } from '../../src/fs/open.ts';
import {
  lsetxattr,
  lutimesNs,
  makedev,
  mknod,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFSOCK,
} from '../../src/linux/libc.ts';
import { build, copy, kernelLines, layers, lines, paths, plant, scratch } from './trees.ts';

const tree = { 'a.txt': 'a', 'b.go': 'b', 'sub/c.txt': 'c', 'sub/deep/d.txt': 'd' };

describe('COPY', () => {
  test.each<[string, src: string, dest: string, more: object, expected: string[]]>([
    ['a file onto a new name', '/a.txt', '/x', {}, ['/here', '/x']],
    ['a file into a new folder', '/a.txt', '/x/', {}, ['/here', '/x', '/x/a.txt']],
    ['a file into a folder that is there', '/a.txt', '/here', {}, ['/here', '/here/a.txt']],
    ['a file, making the folders above', '/a.txt', '/x/y/z', {}, ['/here', '/x', '/x/y', '/x/y/z']],
    ["a folder's contents", '/sub', '/x', {}, ['/here', '/x', '/x/c.txt', '/x/deep', '/x/deep/d.txt']],
    [
      'the folder itself',
      '/sub',
      '/here',
      { dirCopyContents: false },
      ['/here', '/here/sub', '/here/sub/c.txt', '/here/sub/deep', '/here/sub/deep/d.txt'],
    ],
    ['a wildcard', '/*.??*', '/x/', {}, ['/here', '/x', '/x/a.txt', '/x/b.go']],
    [
      'a wildcard for a folder takes its contents',
      '/s*',
      '/x/',
      {},
      ['/here', '/x', '/x/c.txt', '/x/deep', '/x/deep/d.txt'],
    ],
    ['a wildcard in the middle', '/*/c.txt', '/x/', {}, ['/here', '/x', '/x/c.txt']],
    [
      'excludes among what a wildcard finds',
      '/*.*',
      '/x/',
      { excludes: ['*.go'] },
      ['/here', '/x', '/x/a.txt'],
    ],
    [
      'a file that a wildcard finds and an exclude leaves out: its destination is made',
      '/*.go',
      '/x/',
      { excludes: ['*'] },
      ['/here', '/x'],
    ],
    ['so is that of a folder', '/su*', '/x', { excludes: ['*'] }, ['/here', '/x']],
    ['a wildcard that matches nothing', '/*.zig', '/x/', {}, ['/here']],
    ['excludes', '/', '/', { excludes: ['**/*.txt'] }, ['/b.go', '/here', '/sub', '/sub/deep']],
    [
      'includes make only the folders they need',
      '/',
      '/x/',
      { includes: ['**/d.txt'] },
      ['/here', '/x', '/x/sub', '/x/sub/deep', '/x/sub/deep/d.txt'],
    ],
    [
      'COPY --parents: an include pattern on the root',
      '/',
      '/x/',
      { includes: ['sub/c.txt'], requiredPaths: ['/sub/c.txt'] },
      ['/here', '/x', '/x/sub', '/x/sub/c.txt'],
    ],
  ])('%s', async (_, src, dest, more, expected) => {
    using tmp = scratch();
    const source = layers(plant(tmp.path('src'), tree));
    const low = plant(tmp.path('low'), { here: null });
    await build(tmp.path('up'), [low], [copy(source, src, dest, more)]);
    expect(paths(layers(tmp.path('up'), low))).toEqual(expected);
  });

  test.each<[string, src: string, dest: string, more: object, code: string, message: RegExp]>([
    [
      'a source that is not there',
      '/a.tx',
      '/x',
      {},
      'not-found',
      /^lstat \/a\.tx: no such file or directory$/,
    ],
    [
      'a folder of a wildcard that is not there',
      '/nope/*.go',
      '/x/',
      {},
      'not-found',
      /^lstat \/nope: no such file or directory$/,
    ],
    [
      'a wildcard that must match',
      '/*.zig',
      '/x/',
      { allowEmptyWildcard: false },
      'not-found',
      /\/\*\.zig not found/,
    ],
    [
      'a required path',
      '/',
      '/x/',
      { includes: ['no/such'], requiredPaths: ['/no/such'] },
      'not-found',
      /"\/no\/such": not found/,
    ],
    ['a folder onto a file', '/sub', '/file', {}, 'invalid', /cannot copy to non-directory: \/file/],
    ['a file below a file', '/a.txt', '/file/x', {}, 'invalid', /\/file: not a directory/],
    [
      'a file onto a folder in a tree',
      '/sub',
      '/dirs',
      {},
      'invalid',
      /cannot replace to directory \/dirs\/c\.txt with file/,
    ],
    [
      'no folder to copy to',
      '/a.txt',
      '/no/x',
      { createDestPath: false },
      'not-found',
      /failed to stat \/no\/x/,
    ],
    ['a mode that is none', '/a.txt', '/x', { mode: '9999' }, 'invalid', /invalid chmod parameter/],
    ['a malformed pattern', '/[', '/x', {}, 'invalid', /syntax error in pattern/],
  ])('refuses %s', async (_, src, dest, more, code, message) => {
    using tmp = scratch();
    const source = layers(plant(tmp.path('src'), tree));
    const low = plant(tmp.path('low'), { file: 'x', 'dirs/c.txt/': null });
    await expect(build(tmp.path('up'), [low], [copy(source, src, dest, more)])).rejects.toMatchObject({
      code,
      hop: 'file',
      message: expect.stringMatching(message),
    });
  });

  test('a misspelt source gets a hint, an excluded one says why', async () => {
    using tmp = scratch();
    const dir = plant(tmp.path('src'), tree);
    const spec = { kind: 'folder' as const, dir, rootOwned: true, excludes: ['*', '!*.go', 'b.*', '!*.txt'] };
    const hint = (src: string) => build(tmp.path('up'), [], [copy(spec, src, '/x')]).catch((err) => err.hint);
    expect(await hint('/a.tx')).toBe('Did you mean /a.txt?');
    expect(await hint('/b.go')).toBe('b.go is there, but .dockerignore excludes it by its line b.*.');
    expect(await hint('/sub/c.txt')).toBe('sub/c.txt is there, but .dockerignore excludes it by its line *.');
  });

  test('replaces what is in the way when asked to', async () => {
    using tmp = scratch();
    const source = layers(plant(tmp.path('src'), { 'x/f': 'file', 'x/d/e': 'in folder', 'x/l': '-> f' }));
    const low = plant(tmp.path('low'), { 'x/f/old': 'o', 'x/d': 'o', 'x/l/old': 'o', 'x/keep': 'k' });
    const action = copy(source, '/', '/', { alwaysReplaceExistingDestPaths: true });
    await build(tmp.path('up'), [low], [action]);
    const dirs = [tmp.path('up'), low];
    expect(paths(layers(...dirs))).toEqual(['/x', '/x/d', '/x/d/e', '/x/f', '/x/keep', '/x/l']);
    expect(await kernelLines(dirs)).toEqual(lines(openView(layers(...dirs))));
  });

  test('everything about a file comes along', async () => {
    using tmp = scratch();
    const src = plant(tmp.path('src'), {
      'd/plain': { text: 'x', uid: 12, gid: 34, mode: 0o4751 },
      'd/link': '-> plain',
    });
    linkSync(`${src}/d/plain`, `${src}/d/same`);
    mknod(`${src}/d/null`, S_IFCHR | 0o666, makedev(1, 3));
    mknod(`${src}/d/disk`, S_IFBLK | 0o660, makedev(8, 300));
    mknod(`${src}/d/pipe`, S_IFIFO | 0o640, 0);
    mknod(`${src}/d/sock`, S_IFSOCK | 0o640, 0);
    execFileSync('setcap', ['cap_net_raw=ep', `${src}/d/plain`]);
    lsetxattr(`${src}/d`, 'user.note', Buffer.from('on a folder'));
    writeFileSync(`${src}/d/holes`, 'start');
    truncateSync(`${src}/d/holes`, 8 << 20);
    chmodSync(`${src}/d`, 0o2755);
    lutimesNs(`${src}/d/plain`, 1n, 1_234_567_890_123_456_789n);
    lutimesNs(`${src}/d/link`, 1n, -5_000_000_001n);
    lutimesNs(`${src}/d`, 1n, 987_654_321_000_000_001n);
    await build(tmp.path('up'), [], [copy(layers(src), '/d', '/d', { dirCopyContents: false })]);
    const wanted = lines(openView(layers(src)), { times: true }).filter(
      (line) => !line.startsWith('/d/sock'),
    );
    expect(lines(openView(layers(tmp.path('up'))), { times: true })).toEqual(wanted);
    expect(wanted.find((line) => line.startsWith('/d/plain'))).toContain('security.capability=');
    expect(statSync(tmp.path('up/d/same')).ino).toBe(statSync(tmp.path('up/d/plain')).ino);
    expect(statSync(tmp.path('up/d/holes')).blocks).toBe(statSync(`${src}/d/holes`).blocks);
  });

  test('owner, mode and time can be set', async () => {
    using tmp = scratch();
    const source = layers(
      plant(tmp.path('src'), { 'd/run': { text: 'x', mode: 0o750 }, 'd/text': { text: 'x', mode: 0o600 } }),
    );
    const base = plant(tmp.path('base'), {
      'etc/passwd': 'root:x:0:0::/:\nweb:x:33:44::/:/bin/sh\n',
      'etc/group': 'root:x:0:\nstaff:x:50:web\n',
    });
    const named = { user: { name: 'web', in: layers(base) }, group: { name: 'staff', in: layers(base) } };
    const at = (up: string) => lines(openView(layers(tmp.path(up))), { times: true });
    await build(
      tmp.path('1'),
      [],
      [copy(source, '/d', '/x/d', { owner: named, mode: '644', timestampNs: 5n })],
    );
    expect(at('1')).toEqual([
      '/x dir 644 33:50 5',
      '/x/d dir 644 33:50 5',
      '/x/d/run file 644 33:50 "x" 5',
      '/x/d/text file 644 33:50 "x" 5',
    ]);
    const owner = { user: { name: 'web', in: layers(base) } };
    await build(
      tmp.path('2'),
      [],
      [copy(source, '/d', '/d', { owner, mode: 'go-rwx,a+X,u+s', timestampNs: 5n })],
    );
    expect(at('2')).toEqual([
      '/d dir 755 33:44 5',
      '/d/run file 4711 33:44 "x" 5',
      '/d/text file 4600 33:44 "x" 5',
    ]);
    await build(
      tmp.path('3'),
      [],
      [copy(source, '/d', '/d', { owner: { user: { id: 9 } }, timestampNs: 5n })],
    );
    expect(at('3')[0]).toBe('/d dir 755 9:9 5');
    await build(tmp.path('5'), [], [copy(source, '/d/run', '/x/y/run', { timestampNs: 5n })]);
    expect(at('5')).toEqual(['/x dir 755 0:0 5', '/x/y dir 755 0:0 5', '/x/y/run file 750 0:0 "x" 5']);
    const unknown = copy(source, '/d', '/d', { owner: { user: { name: 'nobody-here', in: layers(base) } } });
    await expect(build(tmp.path('4'), [], [unknown])).rejects.toMatchObject({
      code: 'not-found',
      message: 'unable to find user nobody-here: no matching entries in /etc/passwd',
    });
  });

  test('links in the destination are followed inside the tree only', async () => {
    using tmp = scratch();
    const source = layers(plant(tmp.path('src'), { f: 'new' }));
    const outside = plant(tmp.path('outside'), { victim: 'old' });
    const low = plant(tmp.path('low'), {
      'usr/lib/x': 'x',
      lib: '-> usr/lib',
      out: `-> ${outside}`,
      up: '-> ../../../../../../../..',
      'etc/real': 'old',
      'etc/alias': '-> real',
      tree: '-> lib',
    });
    await build(
      tmp.path('up'),
      [low],
      [
        copy(source, '/f', '/lib/'),
        copy(source, '/f', '/out/victim'),
        copy(source, '/f', '/up/'),
        copy(source, '/f', '/etc/alias'),
      ],
    );
    const view = openView(layers(tmp.path('up'), low));
    expect(view.lstat('/usr/lib/f')?.type).toBe('file');
    expect(view.lstat('/lib')?.type).toBe('symlink');
    expect(view.lstat(`${outside}/victim`)?.type).toBe('file');
    expect(readFileSync(`${outside}/victim`, 'utf8')).toBe('old');
    expect(view.lstat('/f')?.type).toBe('file');
    expect(view.lstat('/etc/alias')?.type).toBe('symlink');
    expect(readFileSync(view.lstat('/etc/real')!.hostPath, 'utf8')).toBe('new');
  });

  test('source links are followed or kept, as asked', async () => {
    using tmp = scratch();
    const source = layers(plant(tmp.path('src'), { real: 'r', link: '-> real', dlink: '-> d', 'd/x': 'x' }));
    await build(
      tmp.path('1'),
      [],
      [copy(source, '/link', '/x'), copy(source, '/dlink', '/dd'), copy(source, '/l*', '/w/')],
    );
    expect(paths(layers(tmp.path('1')))).toEqual(['/dd', '/dd/x', '/w', '/w/link', '/x']);
    expect(openView(layers(tmp.path('1'))).lstat('/w/link')?.type).toBe('file');
    await build(tmp.path('2'), [], [copy(source, '/link', '/x', { followSymlink: false })]);
    expect(openView(layers(tmp.path('2'))).lstat('/x')?.link).toBe('real');
  });

  test('parents of the destination are copied up as they were', async () => {
    using tmp = scratch();
    const source = layers(plant(tmp.path('src'), { f: 'new' }));
    const low = plant(tmp.path('low'), { 'a/b/c/old': 'o' });
    chmodSync(`${low}/a/b`, 0o1777);
    lsetxattr(`${low}/a`, 'user.note', Buffer.from('n'));
    for (const dir of ['a/b/c', 'a/b', 'a']) utimesSync(`${low}/${dir}`, 1000, 2000);
    await build(tmp.path('up'), [low], [copy(source, '/f', '/a/b/c/f')]);
    const dirs = [tmp.path('up'), low];
    expect(await kernelLines(dirs, { times: true })).toEqual(
      lines(openView(layers(...dirs)), { times: true }),
    );
    expect(paths(layers(tmp.path('up')))).toEqual(['/a', '/a/b', '/a/b/c', '/a/b/c/f']);
    expect(openView(layers(tmp.path('up'))).lstat('/a/b')).toMatchObject({
      mode: 0o1777,
      mtimeNs: 2000_000_000_000n,
    });
  });

  test('many files over many layers', async () => {
    using tmp = scratch();
    const names = Array.from({ length: 60 }, (_, i) => `f${i}`);
    const plan = (keep: (i: number) => boolean, text: string) =>
      Object.fromEntries(names.filter((_, i) => keep(i)).map((name) => [name, text]));
    const low = plant(
      tmp.path('low'),
      plan((i) => i % 2 === 0, 'low'),
    );
    const mid = plant(tmp.path('mid'), {
      ...plan((i) => i % 3 === 0, 'mid'),
      f4: 'whiteout',
      f8: 'whiteout',
    });
    const src = plant(
      tmp.path('src'),
      plan((i) => i < 50, 'new'),
    );
    const rm = (path: string) => ({ kind: 'rm' as const, path, allowNotFound: false, allowWildcard: false });
    await build(
      tmp.path('up'),
      [mid, low],
      [copy(layers(src), '/', '/'), rm('/f8'), rm('/f6'), rm('/f7'), rm('/f52')],
    );
    const dirs = [tmp.path('up'), mid, low];
    const seen = lines(openView(layers(...dirs)));
    expect(await kernelLines(dirs)).toEqual(seen);
    const text = (name: string) =>
      seen
        .find((line) => line.startsWith(`/${name} `))
        ?.split(' ')
        .at(-1);
    expect(['f4', 'f6', 'f7', 'f8', 'f9', 'f50', 'f51', 'f52', 'f53', 'f54'].map(text)).toEqual([
      '"new"',
      undefined,
      undefined,
      undefined,
      '"new"',
      '"low"',
      '"mid"',
      undefined,
      undefined,
      '"mid"',
    ]);
    // Nothing was below f7, and f8 was gone already: no whiteout of theirs is needed.
    const own = lines(openView(layers(tmp.path('up')))).length;
    expect(readdirSync(tmp.path('up')).length - own).toBe(2);
  });

  test('files of a folder that is given away go into the layer themselves, where they are to be as they are', async () => {
    using tmp = scratch();
    const others = ['not-asked', 'other-mode', 'other-owner', 'other-time'];
    const dir = plant(tmp.path('src'), {
      'all/a': 'a',
      'all/sub/b': { text: 'b', mode: 0o600 },
      'all/one': 'x',
      ...Object.fromEntries(others.map((name) => [name, 'x'])),
    });
    linkSync(`${dir}/all/one`, `${dir}/all/same`);
    const given = { kind: 'folder', dir, rootOwned: true, state: 'given' } as const;
    const inode = (path: string) => statSync(path).ino;
    const isLinked = (from: string, to = from) => inode(`${dir}/${from}`) === inode(tmp.path('up', to));
    await build(
      tmp.path('up'),
      [],
      [
        copy(given, '/all', '/all', { link: true }),
        copy(given, '/all/a', '/second', { link: true }),
        copy(given, '/not-asked', '/not-asked'),
        copy(given, '/other-mode', '/other-mode', { link: true, mode: '700' }),
        copy(given, '/other-owner', '/other-owner', { link: true, owner: { user: { id: 7 } } }),
        copy(given, '/other-time', '/other-time', { link: true, timestampNs: 1n }),
      ],
    );
    expect(isLinked('all/a')).toBe(true);
    expect(isLinked('all/sub/b')).toBe(true);
    // Two files that were two stay two, and those that were one are one.
    expect(isLinked('all/a', 'second')).toBe(false);
    expect(inode(tmp.path('up/all/one'))).toBe(inode(tmp.path('up/all/same')));
    for (const name of others) {
      expect(isLinked(name)).toBe(false);
      expect(readFileSync(tmp.path('up', name), 'utf8')).toBe('x');
      // What was given is as it was.
      const { mode, uid, mtimeMs } = statSync(`${dir}/${name}`);
      expect([mode & 0o777, uid, mtimeMs > 1]).toEqual([0o644, 0, true]);
    }
  });

  test('gives up when told to', async () => {
    using tmp = scratch();
    const src = plant(tmp.path('src'), {});
    for (let i = 0; i < 200; i++) writeFileSync(`${src}/${i}`, 'x');
    lutimesSync(src, 1, 1);
    const { apply } = await import('../../src/fs/apply.ts');
    plant(tmp.path('up'), {});
    let asked = 0;
    const args = { target: layers(tmp.path('up')), actions: [copy(layers(src), '/', '/x')] };
    const promise = apply(args, { aborted: () => ++asked > 2 });
    await expect(promise).rejects.toMatchObject({ code: 'canceled' });
  });
});
