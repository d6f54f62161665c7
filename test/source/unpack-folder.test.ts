import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import { readContents } from '../../src/fs/sent-contents.ts';
import { FolderUnpacker } from '../../src/source/unpack-folder.ts';
import type { TarEntry } from '../../src/tar/types.ts';

// A folder that archives are unpacked into one after the other, and what is kept of it beside it.
let dir: string;
let kept: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-unpack-'));
  kept = join(dir, 'data');
  mkdirSync(kept);
  return () => rmSync(dir, { recursive: true, force: true });
});

type Entry = Partial<TarEntry> & { path: string; bytes?: Buffer };

function unpack(to: string, entries: readonly Entry[], keeps: boolean): string | undefined {
  const unpacker = new FolderUnpacker(to, () => {}, keeps);
  try {
    for (const { bytes = Buffer.alloc(0), ...more } of entries) {
      const owner = { uid: 0, gid: 0, uname: '', gname: '', devmajor: 0, devminor: 0 };
      const type = more.type ?? 'file';
      const size = type === 'file' ? bytes.length : 0;
      unpacker.entry({
        type,
        mode: 0o644,
        size,
        mtimeNs: 1_000_000_000n,
        xattrs: new Map(),
        ...owner,
        ...more,
      });
      if (type === 'file')
        for (let at = 0; at < bytes.length; at += 100_000) unpacker.data(bytes.subarray(at, at + 100_000));
      unpacker.end();
    }
    return unpacker.finish();
  } finally {
    unpacker.abort();
  }
}

/** A folder's files, by path: type, mode, time, links and bytes. Folders' times are their entries' affair. */
function treeOf(root: string, at = ''): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(join(root, at))) {
    const path = join(at, name);
    const st = lstatSync(join(root, path), { bigint: true });
    const mode = Number(st.mode).toString(8);
    if (st.isDirectory()) Object.assign(found, { [path]: mode }, treeOf(root, path));
    else if (st.isFIFO()) found[path] = `${mode} ${st.mtimeNs}`;
    else if (st.isSymbolicLink()) found[path] = `${mode} ${st.mtimeNs} ${readlinkSync(join(root, path))}`;
    else
      found[path] =
        `${mode} ${st.mtimeNs} ${st.nlink} ${readFileSync(join(root, path)).toString('latin1').slice(-20)} ${st.size}`;
  }
  return found;
}

function inode(path: string): bigint {
  return lstatSync(join(kept, path), { bigint: true }).ino;
}

test('what the next archive has as it was is not touched, and the rest is replaced or removed', () => {
  const big = Buffer.alloc(700_000, 'big');
  const first: Entry[] = [
    { path: 'src', type: 'dir', mode: 0o755 },
    { path: 'src/same', bytes: Buffer.from('same') },
    { path: 'src/other', bytes: Buffer.from('one') },
    { path: 'src/gone/deep', bytes: Buffer.from('x') },
    { path: 'big', bytes: big },
    { path: 'bigger', bytes: Buffer.concat([big, Buffer.from('!')]) },
    { path: 'link', type: 'symlink', link: 'src' },
  ];
  const stamp = unpack(kept, first, true);
  expect(stamp).toMatch(/^[0-9a-f]{64}$/);
  const before = { same: inode('src/same'), big: inode('big'), link: inode('link') };
  // The same archive is the same state; nothing at all is written.
  const { ctimeMs } = lstatSync(join(kept, 'src'));
  expect(unpack(kept, first, true)).toBe(stamp);
  expect(lstatSync(join(kept, 'src')).ctimeMs).toBe(ctimeMs);

  // A layer may have a file by a hard link: it is never written into.
  linkSync(join(kept, 'src/other'), join(dir, 'layer'));
  const second = first
    .filter(({ path }) => path !== 'src/gone/deep')
    .map((entry) => {
      if (entry.path === 'src/other') return { ...entry, bytes: Buffer.from('two') };
      return entry.path === 'bigger' ? { ...entry, bytes: Buffer.concat([big, Buffer.from('?')]) } : entry;
    });
  const next = unpack(kept, second, true);
  expect(next).not.toBe(stamp);
  expect({ same: inode('src/same'), big: inode('big'), link: inode('link') }).toEqual(before);
  expect(readFileSync(join(dir, 'layer'), 'utf8')).toBe('one');
  expect(readFileSync(join(kept, 'src/other'), 'utf8')).toBe('two');
  expect(readFileSync(join(kept, 'bigger')).at(-1)).toBe('?'.charCodeAt(0));
  expect(existsSync(join(kept, 'src/gone'))).toBe(false);
  // The digests of the files go with the state.
  expect([...readContents(kept, next as string)!.keys()].sort()).toEqual([
    '/big',
    '/bigger',
    '/src/other',
    '/src/same',
  ]);
});

test('a folder that is not as it was left is filled anew', () => {
  const entries: Entry[] = [
    { path: 'a/x', bytes: Buffer.from('x') },
    { path: 'b', bytes: Buffer.from('y') },
  ];
  unpack(kept, entries, true);
  unlinkSync(join(kept, 'a/x'));
  writeFileSync(join(kept, 'stray'), '');
  unpack(kept, entries, true);
  expect(Object.keys(treeOf(kept)).sort()).toEqual(['a', 'a/x', 'b']);
  // So is one that an archive broke off in.
  expect(() => unpack(kept, [{ path: 'c' }, { path: '../d' }], true)).toThrow('leads out');
  expect(existsSync(`${kept}.state`)).toBe(false);
  unpack(kept, entries, true);
  expect(Object.keys(treeOf(kept)).sort()).toEqual(['a', 'a/x', 'b']);
});

const name = fc.constantFrom('a', 'b', 'c');
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const bytes = fc
  .constantFrom('', 'one', 'two', 'x'.repeat(300_000), `${'x'.repeat(299_999)}y`)
  .map((text) => Buffer.from(text));
const mtimeNs = fc.constantFrom(1_000_000_000n, 2_000_000_001n);
const mode = fc.constantFrom(0o644, 0o755, 0o4711);
const entry: fc.Arbitrary<Entry> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ path, bytes, mtimeNs, mode }) },
  fc.record({ path, type: fc.constant('dir' as const), mtimeNs, mode }),
  fc.record({
    path,
    type: fc.constant('symlink' as const),
    link: fc.constantFrom('a', '../b', '/etc'),
    mtimeNs,
  }),
  fc.record({ path, type: fc.constant('hardlink' as const), link: path, mtimeNs }),
  fc.record({ path, type: fc.constant('fifo' as const), mtimeNs, mode }),
);
const archive = fc.array(entry, { maxLength: 8 });

test('however archives follow each other, the folder is what the last one alone would have made', () => {
  fc.assert(
    fc.property(fc.array(archive, { minLength: 2, maxLength: 4 }), (archives) => {
      rmSync(kept, { recursive: true });
      rmSync(`${kept}.state`, { force: true });
      mkdirSync(kept);
      const stamps = new Map<string, string>();
      for (const entries of archives) {
        const alone = mkdtempSync(join(dir, 'alone-'));
        const run = (to: string, keeps: boolean) => {
          try {
            return { stamp: unpack(to, entries, keeps), tree: JSON.stringify(treeOf(to)) };
          } catch (err) {
            return { said: (err as Error).message };
          }
        };
        const want = run(alone, false);
        const have = run(kept, true);
        expect(have.said).toBe(want.said);
        if (want.said === undefined) expect(have.tree).toBe(want.tree);
        // One stamp never stands for two trees.
        if (have.stamp !== undefined) expect(stamps.get(have.stamp) ?? have.tree).toBe(have.tree);
        if (have.stamp !== undefined) stamps.set(have.stamp, have.tree as string);
      }
    }),
    { numRuns: 150 },
  );
});
