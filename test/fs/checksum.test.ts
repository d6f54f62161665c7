import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test, vi } from 'vitest';
import { checksum } from '../../src/fs/checksum.ts';
import { isSettled } from '../../src/fs/stat-db.ts';
import type { ContentSelector, ViewSpec } from '../../src/fs/view.ts';
import { lsetxattr, mknod, S_IFSOCK } from '../../src/linux/libc.ts';
import { build, copy, ctx, layers, plant, scratch } from './trees.ts';

const whole: ContentSelector[] = [{ path: '/', wildcard: true, followLinks: true }];

function digest(spec: ViewSpec, selectors: ContentSelector[] = whole, statDb = '/nowhere/stat.db'): string {
  return checksum({ spec, selectors, statDb }, ctx).digest;
}

const plan = {
  Dockerfile: 'FROM scratch',
  'src/a.txt': 'a',
  'src/run': { text: '#!/bin/sh', mode: 0o755 },
  'src/link': '-> a.txt',
  'src/empty': null,
  'b.txt': 'b',
};

describe('the same tree has the same digest', () => {
  test('as a client folder, as layers, unpacked from a tar, and copied', async () => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), plan);
    execFileSync('chown', ['-hR', '1000:1000', dir]);
    const wanted = digest({ kind: 'folder', dir, rootOwned: true });
    const tar = execFileSync('tar', ['-C', dir, '--owner=0', '--group=0', '-c', '.']);
    mkdirSync(tmp.path('untarred'));
    execFileSync('tar', ['-C', tmp.path('untarred'), '-xp'], { input: tar });
    expect(digest(layers(tmp.path('untarred')))).toBe(wanted);
    const low = plant(tmp.path('low'), { 'old.txt': 'old', 'src/a.txt': 'old' });
    const spec = { kind: 'folder' as const, dir, rootOwned: true };
    await build(
      tmp.path('up'),
      [low],
      [{ kind: 'rm', path: '/old.txt', allowNotFound: false, allowWildcard: false }, copy(spec, '/', '/')],
    );
    expect(digest(layers(tmp.path('up'), low))).toBe(wanted);
    expect(digest({ kind: 'folder', dir, rootOwned: false })).not.toBe(wanted);
  });

  test('whatever its times, the order it was written in, sockets, and its own mode', () => {
    using tmp = scratch();
    const one = plant(tmp.path('1'), plan);
    const two = plant(tmp.path('2'), Object.fromEntries(Object.entries(plan).reverse()));
    utimesSync(`${two}/b.txt`, 1, 2);
    mknod(`${two}/sock`, S_IFSOCK | 0o600, 0);
    chmodSync(two, 0o700);
    expect(digest(layers(one))).toBe(digest(layers(two)));
  });

  test.each<[string, (dir: string) => void]>([
    ['a byte', (dir) => writeFileSync(`${dir}/b.txt`, 'B')],
    ['a mode', (dir) => chmodSync(`${dir}/b.txt`, 0o600)],
    ["a folder's mode", (dir) => chmodSync(`${dir}/src`, 0o700)],
    ['an owner', (dir) => void execFileSync('chown', ['1', `${dir}/b.txt`])],
    ['a name', (dir) => writeFileSync(`${dir}/c.txt`, '')],
    ['an empty folder', (dir) => mkdirSync(`${dir}/more`)],
    ['a link', (dir) => symlinkSync('x', `${dir}/more`)],
    ['a file capability', (dir) => void execFileSync('setcap', ['cap_chown=p', `${dir}/b.txt`])],
    ['an attribute', (dir) => lsetxattr(`${dir}/src`, 'user.a', Buffer.from('b'))],
    ['a length', (dir) => truncateSync(`${dir}/b.txt`, 3 << 20)],
  ])('%s makes another', (_, change) => {
    using tmp = scratch();
    const dir = plant(tmp.dir, plan);
    const before = digest(layers(dir));
    change(dir);
    expect(digest(layers(dir))).not.toBe(before);
  });
});

describe('a selection', () => {
  test('covers what it selects and nothing else', () => {
    using tmp = scratch();
    const dir = plant(tmp.dir, plan);
    const select = (selector: ContentSelector) => digest(layers(dir), [selector]);
    const selectors: ContentSelector[] = [
      { path: '/src' },
      { path: '/*.txt', wildcard: true },
      { path: '/', includes: ['**/*.txt'] },
      { path: '/', excludes: ['b.txt'] },
      { path: '/src/link', followLinks: true },
      { path: '/src/link' },
      { path: '/*.zig', wildcard: true },
      { path: '/*', wildcard: true, excludes: ['b*'] },
      // A COPY of these makes its destination, one of nothing does not.
      { path: '/b*', wildcard: true, excludes: ['*'] },
    ];
    const before = selectors.map(select);
    expect(new Set(before).size).toBe(before.length);
    expect(select({ path: '/src/../src/a.txt' })).toBe(before[4]);
    writeFileSync(`${dir}/b.txt`, 'changed');
    const after = selectors.map(select);
    expect(after.map((one, i) => one !== before[i])).toEqual([
      false,
      true,
      true,
      false,
      false,
      false,
      false,
      false,
      false,
    ]);
  });

  test('of something that is not there is not found, in BuildKit’s words', () => {
    using tmp = scratch();
    const dir = plant(tmp.dir, plan);
    expect(() => digest(layers(dir), [{ path: '/x' }])).toThrow(
      expect.objectContaining({ code: 'not-found', message: '"/x": not found' }),
    );
    expect(() => digest(layers(dir), [{ path: '/b.tx' }])).toThrow(
      expect.objectContaining({ hint: 'Did you mean /b.txt?' }),
    );
    const parents = { path: '/', includes: ['x/y'], required: ['/x/y'] };
    expect(() => digest(layers(dir), [parents])).toThrow('"/x/y": not found');
  });

  test('counts bytes, and big files are read in pieces', () => {
    using tmp = scratch();
    const dir = plant(tmp.dir, { small: 'abc' });
    truncateSync(`${dir}/small`, 3);
    writeFileSync(`${dir}/big`, Buffer.alloc((2 << 20) + 17, 'x'));
    const { bytes } = checksum({ spec: layers(dir), selectors: whole, statDb: '' }, ctx);
    expect(bytes).toBe(3 + (2 << 20) + 17);
    const before = digest(layers(dir));
    writeFileSync(`${dir}/big`, `${'x'.repeat((2 << 20) + 16)}y`);
    expect(digest(layers(dir))).not.toBe(before);
  });
});

describe('the memory of file digests', () => {
  const settle = () => new Promise((resolve) => setTimeout(resolve, 150));
  const folder = (dir: string): ViewSpec => ({ kind: 'folder', dir, rootOwned: true, cacheKey: `of ${dir}` });
  const remembered = (file: string) => {
    const db = new DatabaseSync(file);
    const rows = db.prepare('SELECT path FROM contents ORDER BY path').all();
    db.close();
    return rows.map((row) => row.path);
  };

  test('saves reading unchanged files, and sees every change', async () => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), { a: 'aaaa', b: 'bbbb' });
    const statDb = tmp.path('stat.db');
    await settle();
    const first = digest(folder(dir), whole, statDb);
    expect(remembered(statDb)).toEqual(['/a', '/b']);
    expect(digest(folder(dir), whole, statDb)).toBe(first);
    // Same size and the same mtime: the change still shows.
    const { atime, mtime } = statSync(`${dir}/a`);
    writeFileSync(`${dir}/a`, 'AAAA');
    utimesSync(`${dir}/a`, atime, mtime);
    const second = digest(folder(dir), whole, statDb);
    expect(second).not.toBe(first);
    expect(second).toBe(digest({ kind: 'folder', dir, rootOwned: true }));
    await settle();
    expect(digest(folder(dir), whole, statDb)).toBe(second);
    lsetxattr(`${dir}/b`, 'user.mark', Buffer.from('1'));
    const third = digest(folder(dir), whole, statDb);
    expect(third).not.toBe(second);
    await settle();
    expect([digest(folder(dir), whole, statDb), digest(folder(dir), whole, statDb)]).toEqual([third, third]);
  });

  test('a look ahead is taken once: what changed after it shows at the next', async () => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), { a: 'aaaa', 'd/b': 'bbbb' });
    // A thread of its own that has digested nothing yet.
    vi.resetModules();
    const { glance } = await import('../../src/fs/glance.ts');
    const { checksum } = await import('../../src/fs/checksum.ts');
    const args = { spec: folder(dir), selectors: whole, statDb: tmp.path('stat.db') };
    const look = () => checksum(args, { aborted: () => false }).digest;
    await settle();
    digest(folder(dir), whole, tmp.path('stat.db'));
    const before = digest(folder(dir));
    await glance({ dir }, ctx);
    writeFileSync(`${dir}/d/b`, 'BBBB');
    expect(look(), 'as at the look ahead').toBe(before);
    const after = look();
    expect(after).not.toBe(before);
    expect(after).toBe(digest({ kind: 'folder', dir, rootOwned: true }));
  });

  test('is really used: a wrong digest in it shows', async () => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), { a: 'aaaa', b: 'bbbb' });
    const statDb = tmp.path('stat.db');
    await settle();
    const first = digest(folder(dir), whole, statDb);
    tamper(statDb, "UPDATE contents SET contents = 'wrong'");
    expect(digest(folder(dir), whole, statDb), 'nothing changed: the tree is remembered whole').toBe(first);
    tamper(statDb, 'DELETE FROM trees');
    expect(digest(folder(dir), whole, statDb)).not.toBe(first);
    tamper(statDb, "UPDATE trees SET digest = 'wrong'");
    expect(digest(folder(dir), whole, statDb)).toBe('wrong');
    expect(digest(folder(dir), [{ path: '/a' }], statDb), 'another selection').not.toBe('wrong');
  });

  test.each<[string, (dir: string) => void]>([
    ['bytes', (dir) => writeFileSync(`${dir}/src/d/b`, 'BBBB')],
    ['mode', (dir) => chmodSync(`${dir}/src/d/b`, 0o600)],
    ['a new file', (dir) => writeFileSync(`${dir}/src/d/c`, '')],
    ['a file less', (dir) => rmSync(`${dir}/src/d/b`)],
    ['a folder’s mode', (dir) => chmodSync(`${dir}/src/d`, 0o700)],
    ['a link’s target', (dir) => void execFileSync('ln', ['-sfn', 'd', `${dir}/src/l`])],
    ['an attribute', (dir) => lsetxattr(`${dir}/src/d`, 'user.mark', Buffer.from('1'))],
  ])('a tree remembered whole is digested again after a change: %s', async (_, change) => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), { 'src/a': 'aaaa', 'src/d/b': 'bbbb', other: '1' });
    symlinkSync('a', `${dir}/src/l`);
    const statDb = tmp.path('stat.db');
    const src = [{ path: '/src' }];
    await settle();
    const first = digest(folder(dir), src, statDb);
    expect(rows(statDb, 'SELECT digest FROM trees')).toEqual([{ digest: first }]);
    writeFileSync(`${dir}/other`, '2');
    await settle();
    tamper(statDb, "UPDATE trees SET digest = 'remembered'");
    expect(digest(folder(dir), src, statDb), 'what is not selected does not matter').toBe('remembered');
    change(dir);
    const second = digest(folder(dir), src, statDb);
    expect(second).toBe(digest({ kind: 'folder', dir, rootOwned: true }, src));
    expect(second).not.toBe(first);
  });

  test('a tree is not remembered whole when something of it was not looked at, or changed just now', async () => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), { 'src/a': 'aaaa', 'src/node_modules/m': 'm', '.git/HEAD': 'x' });
    const statDb = tmp.path('stat.db');
    await settle();
    digest(folder(dir), whole, statDb);
    digest(folder(dir), [{ path: '/src' }], statDb);
    const count = () => rows(statDb, 'SELECT state FROM trees').length;
    expect(count(), 'node_modules and .git are part of it').toBe(0);
    const excludes = ['.git', '**/node_modules'];
    const ignoring = { kind: 'folder' as const, dir, rootOwned: true, cacheKey: dir, excludes };
    digest(ignoring, whole, statDb);
    expect(count(), 'they are excluded').toBe(1);
    digest({ ...ignoring, excludes: [...excludes, '!.git/HEAD'] }, whole, statDb);
    expect(count(), 'a part of them is not').toBe(1);
    writeFileSync(`${dir}/src/a`, 'AAAA');
    digest(ignoring, whole, statDb);
    expect(count(), 'too young').toBe(1);
  });

  test('a path through links is remembered with all it may lead to', async () => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), { 'a/b/f': '1', 'c/f': '2' });
    symlinkSync('../c', `${dir}/a/l`);
    symlinkSync('a/b', `${dir}/top`);
    const statDb = tmp.path('stat.db');
    for (const path of ['/a/l/f', '/top']) {
      const selected = [{ path, followLinks: true }];
      await settle();
      const first = digest(folder(dir), selected, statDb);
      writeFileSync(`${dir}/${path === '/top' ? 'a/b/f' : 'c/f'}`, path);
      await settle();
      const second = digest(folder(dir), selected, statDb);
      expect(second).not.toBe(first);
      expect(second).toBe(digest({ kind: 'folder', dir, rootOwned: true }, selected));
    }
  });

  test('does not take in files that changed just now', () => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), {});
    const statDb = tmp.path('stat.db');
    writeFileSync(`${dir}/new`, 'x');
    digest(folder(dir), whole, statDb);
    expect(remembered(statDb)).toEqual([]);
    expect(isSettled(1_000_000_000n, 1050)).toBe(false);
    expect(isSettled(1_000_000_000n, 1101)).toBe(true);
  });

  test('is only a memory: a damaged one is done without', async () => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), { a: 'aaaa' });
    writeFileSync(tmp.path('stat.db'), 'no database at all, but long enough to look like a file');
    await settle();
    expect(digest(folder(dir), whole, tmp.path('stat.db'))).toBe(digest(layers(dir)));
  });
});

function tamper(file: string, sql: string): void {
  const db = new DatabaseSync(file);
  db.exec(sql);
  db.close();
}

function rows(file: string, sql: string): unknown[] {
  const db = new DatabaseSync(file);
  try {
    return db
      .prepare(sql)
      .all()
      .map((row) => ({ ...row }));
  } finally {
    db.close();
  }
}

test.each(['lazy-layers/1', 'run/1/lazy-layers/1'])(
  'a file in a folder %s does not choose its digest',
  (name) => {
    using tmp = scratch();
    const dir = plant(tmp.path('tree'), { [`${name}/file`]: 'one' });
    const file = `${dir}/${name}/file`;
    lsetxattr(file, 'user.drydock.digest', Buffer.from('0'.repeat(64)));
    for (const spec of [{ kind: 'folder' as const, dir, rootOwned: true }, layers(dir)]) {
      writeFileSync(file, 'one');
      const [all, alone] = [whole, [{ path: `/${name}/file`, wildcard: false, followLinks: true }]];
      const before = [digest(spec, all), digest(spec, alone)];
      writeFileSync(file, 'two');
      expect(digest(spec, all)).not.toBe(before[0]);
      expect(digest(spec, alone)).not.toBe(before[1]);
    }
  },
);
