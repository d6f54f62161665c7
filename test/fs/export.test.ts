import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, readFileSync, statSync, symlinkSync, truncateSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { exportTree } from '../../src/fs/export.ts';
import { openView } from '../../src/fs/open.ts';
import { seed } from '../../src/fs/seed.ts';
import { lsetxattr, lutimesNs, makedev, mknod, S_IFCHR } from '../../src/linux/libc.ts';
import { closePool, runTask } from '../../src/workers/pool.ts';
import { ctx, layers, lines, paths, plant, scratch } from './trees.ts';

afterAll(closePool);

/** One of everything. */
function everything(dir: string): string {
  plant(dir, {
    'd/f': { text: 'x', uid: 5, gid: 6, mode: 0o4755 },
    'd/l': '-> f',
    e: null,
    'd/big': 'y'.repeat(300_000),
  });
  linkSync(`${dir}/d/f`, `${dir}/same`);
  mknod(`${dir}/null`, S_IFCHR | 0o600, makedev(1, 3));
  truncateSync(`${dir}/d/big`, 5 << 20);
  lsetxattr(`${dir}/e`, 'user.note', Buffer.from('n'));
  execFileSync('setcap', ['cap_chown=p', `${dir}/d/big`]);
  chmodSync(`${dir}/e`, 0o2711);
  lutimesNs(`${dir}/d/l`, 0n, 123_456_789n);
  lutimesNs(`${dir}/d`, 0n, 987_654_321_123_456_789n);
  return dir;
}

describe('fs.seed copies a whole view into a layer folder', () => {
  test('with everything preserved', () => {
    using tmp = scratch();
    const src = everything(tmp.path('src'));
    chmodSync(src, 0o750);
    mkdirSync(tmp.path('dest'));
    const written = seed({ spec: layers(src), dest: tmp.path('dest') }, ctx);
    expect(written).toEqual({ entries: 7, bytes: 1 + (5 << 20) });
    expect(lines(openView(layers(tmp.path('dest'))), { times: true })).toEqual(
      lines(openView(layers(src)), { times: true }),
    );
    expect(statSync(tmp.path('dest')).mode & 0o7777).toBe(0o750);
    expect(statSync(tmp.path('dest/same')).ino).toBe(statSync(tmp.path('dest/d/f')).ino);
    expect(statSync(tmp.path('dest/d/big')).blocks).toBe(statSync(`${src}/d/big`).blocks);
  });

  test('through its filter', () => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), { a: 'a', 'b/c': 'c', 'b/d': 'd' });
    mkdirSync(tmp.path('dest'));
    seed(
      { spec: { kind: 'folder', dir, rootOwned: true, excludes: ['b', '!b/d'] }, dest: tmp.path('dest') },
      ctx,
    );
    expect(paths(layers(tmp.path('dest')))).toEqual(['/a', '/b', '/b/d']);
  });
});

describe('fs.export writes a tree out for its user', () => {
  test('into a new folder, with owners and times', () => {
    using tmp = scratch();
    const src = everything(tmp.path('src'));
    const dest = tmp.path('not', 'there', 'yet');
    exportTree({ spec: layers(src), dest }, ctx);
    expect(lines(openView(layers(dest)), { times: true })).toEqual(
      lines(openView(layers(src)), { times: true }),
    );
  });

  test('over a folder that is there: merged, and never through its links', () => {
    using tmp = scratch();
    const outside = plant(tmp.path('outside'), { f: 'old' });
    const src = plant(tmp.path('src'), {
      'd/f': 'new',
      l: 'file now',
      'was-dir': 'file now',
      'was-file/f': 'f',
    });
    const dest = plant(tmp.path('dest'), {
      keep: 'k',
      l: `-> ${outside}/f`,
      'was-dir/x': 'x',
      'was-file': 'x',
      d: `-> ${outside}`,
    });
    exportTree({ spec: layers(src), dest, timestampNs: 11n }, ctx);
    expect(readFileSync(`${outside}/f`, 'utf8')).toBe('old');
    expect(paths(layers(dest))).toEqual([
      '/d',
      '/d/f',
      '/keep',
      '/l',
      '/was-dir',
      '/was-file',
      '/was-file/f',
    ]);
    expect(openView(layers(dest)).lstat('/d')).toMatchObject({ type: 'dir', mtimeNs: 11n });
    expect(openView(layers(dest)).lstat('/l')).toMatchObject({ type: 'file', mtimeNs: 11n });
  });

  test('to a link to a folder', () => {
    using tmp = scratch();
    plant(tmp.path('real'), {});
    symlinkSync('real', tmp.path('link'));
    exportTree({ spec: layers(plant(tmp.path('src'), { f: 'x' })), dest: tmp.path('link') }, ctx);
    expect(readFileSync(tmp.path('real/f'), 'utf8')).toBe('x');
  });

  test('where a file is, is an error', () => {
    using tmp = scratch();
    plant(tmp.dir, { file: 'x' });
    expect(() => exportTree({ spec: { kind: 'empty' }, dest: tmp.path('file') }, ctx)).toThrow(
      expect.objectContaining({ code: 'invalid', hop: 'export' }),
    );
  });
});

test('all of it runs on worker threads', async () => {
  using tmp = scratch();
  const src = plant(tmp.path('src'), { f: 'x' });
  mkdirSync(tmp.path('a'));
  expect(await runTask('fs.seed', { spec: layers(src), dest: tmp.path('a') })).toEqual({
    entries: 1,
    bytes: 1,
  });
  const dest = tmp.path('b');
  expect(await runTask('fs.export', { spec: layers(tmp.path('a')), dest })).toEqual({ entries: 1, bytes: 1 });
  const select = { selectors: [{ path: '/' }], statDb: tmp.path('db') };
  const [one, two] = await Promise.all([
    runTask('fs.checksum', { spec: layers(src), ...select }),
    runTask('fs.checksum', { spec: layers(dest), ...select }),
  ]);
  expect(one).toEqual(two);
  const folder = { kind: 'folder' as const, dir: src, rootOwned: true, cacheKey: 'k' };
  const twice = await Promise.all([1, 2].map(() => runTask('fs.checksum', { spec: folder, ...select })));
  expect(twice).toEqual([one, one]);
  const actions = [{ kind: 'mkdir' as const, path: '/x', mode: 0o755, makeParents: false }];
  expect(await runTask('fs.apply', { target: layers(dest), actions })).toEqual({ entries: 1, bytes: 0 });
  const bad = [{ kind: 'rm' as const, path: '/nope', allowNotFound: false, allowWildcard: false }];
  await expect(runTask('fs.apply', { target: layers(dest), actions: bad })).rejects.toMatchObject({
    code: 'not-found',
  });
});
