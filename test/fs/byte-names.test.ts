/** Trees whose names are no UTF-8, through all that is done with trees on the disk: names stay byte for byte. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { assert, asyncProperty, property } from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { checksum } from '../../src/fs/checksum.ts';
import { exportTree } from '../../src/fs/export.ts';
import { openView } from '../../src/fs/open.ts';
import { hostXattrs } from '../../src/fs/stat.ts';
import type { FsView, ViewSpec } from '../../src/fs/view.ts';
import { lsetxattr } from '../../src/linux/libc.ts';
import { bytesOf, nameOf } from '../../src/linux/names.ts';
import { FolderUnpacker } from '../../src/source/unpack-folder.ts';
import { linkTree } from '../../src/store/containerd/link-tree.ts';
import { copyTree, removeTrees, treeUsage } from '../../src/store/local/tree.ts';
import { TarParser } from '../../src/tar/parser.ts';
import { closePool, runTask } from '../../src/workers/pool.ts';
import { byteNames, makeByteTree, readByteTree } from '../kit/byte-tree.ts';
import { build, copy, ctx, layers, scratch } from './trees.ts';

afterAll(closePool);

const folder = (dir: string): ViewSpec => ({ kind: 'folder', dir, rootOwned: true });
const digest = (spec: ViewSpec, statDb = '/nowhere/stat.db') =>
  checksum({ spec, selectors: [{ path: '/', wildcard: true, followLinks: true }], statDb }, ctx).digest;
const latin1 = (name: string) => bytesOf(name).toString('latin1');

/** All paths of a view as bytes, in its order. */
function pathsOf(view: FsView, dir = '/'): string[] {
  return view
    .readdir(dir)
    .flatMap(({ path, type }) => [latin1(path.slice(1)), ...(type === 'dir' ? pathsOf(view, path) : [])]);
}

/** Tries a few trees. `check` gets a folder with one in `src`. */
function onTrees(check: (tmp: ReturnType<typeof scratch>, src: string, names: string[]) => void): void {
  assert(
    property(byteNames, (names) => {
      using tmp = scratch();
      makeByteTree(tmp.path('src'), names);
      check(tmp, tmp.path('src'), names);
    }),
    { numRuns: 25 },
  );
}

test('views show them, in the order of their bytes', () => {
  onTrees((_, src, names) => {
    for (const spec of [folder(src), layers(src)]) {
      const found = pathsOf(openView(spec));
      expect(found.toSorted()).toEqual(Object.keys(readByteTree(src)).toSorted());
      expect(found.filter((path) => !path.includes('/'))).toEqual(
        names.filter((name) => found.includes(name)).toSorted(),
      );
    }
  });
});

test('content keys tell them apart, are the same from everywhere, and are remembered', () => {
  onTrees((tmp, src) => {
    const wanted = digest(folder(src));
    expect(digest(layers(src))).toBe(wanted);
    const memory = { ...folder(src), cacheKey: 'here' } as ViewSpec;
    expect(digest(memory, tmp.path('stat.db'))).toBe(wanted);
    expect(digest(memory, tmp.path('stat.db'))).toBe(wanted);
  });
  using tmp = scratch();
  const of = (dir: string, name: number[], target: number[]) => {
    mkdirSync(tmp.path(dir));
    const raw = (bytes: number[]) => Buffer.concat([Buffer.from(`${tmp.path(dir)}/`), Buffer.from(bytes)]);
    writeFileSync(raw(name), '');
    execFileSync('ln', ['-s', '-T', '--', `$'\\x${target[0]?.toString(16)}'`, `${tmp.path(dir)}/link`]);
    return digest(folder(tmp.path(dir)));
  };
  const keys = [
    of('1', [0xe9], [0xe9]),
    of('2', [0xe8], [0xe9]),
    of('3', [0xe9], [0xe8]),
    of('4', [0xef, 0xbf, 0xbd], [0xe9]),
  ];
  expect(new Set(keys).size).toBe(4);
});

test('what is remembered of a file is not taken for its neighbour’s', () => {
  using tmp = scratch();
  const raw = (byte: number) => Buffer.concat([Buffer.from(`${tmp.dir}/ctx/caf`), Buffer.of(byte)]);
  mkdirSync(tmp.path('ctx'));
  writeFileSync(raw(0xe9), 'one');
  writeFileSync(raw(0xe8), 'two');
  execFileSync('sleep', ['0.2']);
  const spec = { ...folder(tmp.path('ctx')), cacheKey: 'here' } as ViewSpec;
  const first = digest(spec, tmp.path('stat.db'));
  const db = new DatabaseSync(tmp.path('stat.db'));
  expect(db.prepare('SELECT path FROM contents').all()).toHaveLength(2);
  db.exec('DELETE FROM trees');
  db.close();
  expect(digest(spec, tmp.path('stat.db'))).toBe(first);
  renameSync(raw(0xe9), raw(0xea));
  expect(digest(spec, tmp.path('stat.db'))).not.toBe(first);
});

test('COPY takes them along, by patterns too, and exports write them', async () => {
  await assert(
    asyncProperty(byteNames, async (names) => {
      using tmp = scratch();
      makeByteTree(tmp.path('src'), names);
      const wanted = readByteTree(tmp.path('src'));
      await build(tmp.path('all'), [], [copy(folder(tmp.path('src')), '/', '/')]);
      expect(readByteTree(tmp.path('all'))).toEqual(wanted);
      const all = copy(layers(tmp.path('src')), '/*', '/in/', {
        dirCopyContents: false,
        followSymlink: false,
      });
      await build(tmp.path('matched'), [], [all]);
      // Each match is copied for itself, so that a file's two names become two files.
      const single = (tree: Record<string, string>) =>
        Object.entries(tree).map(([path, text]) => [path, text.replace(/^\/\+/, '')]);
      expect(single(readByteTree(tmp.path('matched', 'in')))).toEqual(single(wanted));
      exportTree({ spec: layers(tmp.path('all')), dest: tmp.path('out'), remove: true }, ctx);
      expect(readByteTree(tmp.path('out'))).toEqual(wanted);
    }),
    { numRuns: 15 },
  );
});

test('a literal path finds exactly the file of these bytes', async () => {
  using tmp = scratch();
  mkdirSync(tmp.path('src'));
  for (const byte of [0xe8, 0xe9]) {
    writeFileSync(Buffer.concat([Buffer.from(`${tmp.dir}/src/caf`), Buffer.of(byte)]), String(byte));
  }
  await build(tmp.path('up'), [], [copy(folder(tmp.path('src')), '/caf\udce9', '/x')]);
  expect(readFileSync(tmp.path('up', 'x'), 'utf8')).toBe('233');
  const missing = build(tmp.path('no'), [], [copy(folder(tmp.path('src')), '/caf\udcea', '/x')]);
  await expect(missing).rejects.toThrow('/caf\\xea');
});

test('layers: packed, unpacked, and what changed between them', async () => {
  await assert(
    asyncProperty(byteNames, byteNames, async (names, others) => {
      using tmp = scratch();
      makeByteTree(tmp.path('src'), names);
      makeByteTree(tmp.path('lower'), others);
      const pack = async (layer: object, path: string) =>
        runTask('layer.pack', {
          layer,
          compression: { type: 'uncompressed' },
          sink: { kind: 'file', path },
        } as never);
      const unpack = (path: string, dir: string, lower?: ViewSpec) => {
        mkdirSync(dir);
        return runTask('layer.unpack', { source: { path }, dir, form: 'overlay', lower });
      };
      const wanted = readByteTree(tmp.path('src'));
      await pack({ kind: 'overlay', dir: tmp.path('src'), lower: { kind: 'empty' } }, tmp.path('1.tar'));
      await unpack(tmp.path('1.tar'), tmp.path('unpacked'));
      expect(readByteTree(tmp.path('unpacked'))).toEqual(wanted);
      mkdirSync(tmp.path('gnu'));
      execFileSync('tar', ['-C', tmp.path('gnu'), '-xf', tmp.path('1.tar')]);
      expect(readByteTree(tmp.path('gnu'))).toEqual(wanted);
      // The difference on the lower tree, with whiteouts, makes the upper one of it.
      await pack(
        { kind: 'difference', lower: layers(tmp.path('lower')), upper: layers(tmp.path('src')) },
        tmp.path('2.tar'),
      );
      await unpack(tmp.path('2.tar'), tmp.path('diff'), layers(tmp.path('lower')));
      expect(pathsOf(openView(layers(tmp.path('diff'), tmp.path('lower'))))).toEqual(
        pathsOf(openView(layers(tmp.path('src')))),
      );
      mkdirSync(tmp.path('written'));
      await runTask('ops.diff', {
        lower: layers(tmp.path('lower')),
        upper: layers(tmp.path('src')),
        dir: tmp.path('written'),
      });
      expect(pathsOf(openView(layers(tmp.path('written'), tmp.path('lower'))))).toEqual(
        pathsOf(openView(layers(tmp.path('src')))),
      );
    }),
    { numRuns: 10 },
  );
});

test.each(['gnu', 'oldgnu', 'ustar', 'pax', 'v7'])('archives of the format %s', (format) => {
  onTrees((tmp, src) => {
    const tar = execFileSync('tar', ['-C', src, `--format=${format}`, '--sort=name', '-c', '.']);
    mkdirSync(tmp.path('out'));
    const unpacker = new FolderUnpacker(tmp.path('out'));
    const parser = new TarParser(unpacker);
    parser.push(tar);
    parser.finish();
    unpacker.finish();
    expect(readByteTree(tmp.path('out'))).toEqual(readByteTree(src));
  });
});

test('stores copy, link, measure and remove them', () => {
  onTrees((tmp, src) => {
    const wanted = readByteTree(src);
    for (const name of ['copied', 'linked']) mkdirSync(tmp.path(name));
    copyTree({ from: src, to: tmp.path('copied') });
    expect(readByteTree(tmp.path('copied'))).toEqual(wanted);
    linkTree({ from: tmp.path('copied'), to: tmp.path('linked') });
    expect(Object.keys(readByteTree(tmp.path('linked')))).toEqual(Object.keys(wanted));
    const files = new Set(Object.keys(wanted));
    expect(treeUsage({ dir: src }).inodes).toBe(
      files.size - (Object.values(wanted).some((text) => text.startsWith('/+')) ? 1 : 0),
    );
    removeTrees({ paths: [src, tmp.path('linked')] });
    expect(() => readByteTree(src)).toThrow('ENOENT');
  });
});

test('extended attributes with such names', async () => {
  using tmp = scratch();
  mkdirSync(tmp.path('src'));
  writeFileSync(tmp.path('src', 'f'), '');
  const name = nameOf(Buffer.from('user.caf\xe9', 'latin1'));
  lsetxattr(tmp.path('src', 'f'), name, Buffer.from([0xff]));
  await build(tmp.path('up'), [], [copy(folder(tmp.path('src')), '/', '/')]);
  const path = tmp.path('l.tar');
  const layer = { kind: 'overlay', dir: tmp.path('up'), lower: { kind: 'empty' } } as const;
  await runTask('layer.pack', { layer, compression: { type: 'uncompressed' }, sink: { kind: 'file', path } });
  rmSync(tmp.path('up'), { recursive: true });
  mkdirSync(tmp.path('up'));
  await runTask('layer.unpack', { source: { path }, dir: tmp.path('up'), form: 'overlay' });
  expect(hostXattrs(openView(layers(tmp.path('up'))).lstat('/f')!)).toEqual([[name, Buffer.from([0xff])]]);
});
