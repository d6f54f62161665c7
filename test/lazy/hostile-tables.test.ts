/** Tables of contents that no sound writer makes, and runs of zeros, which sound ones do. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import zlib from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Limiter } from '../../src/flow/index.ts';
import { readToc } from '../../src/layer/chunked/read-toc.ts';
import { writeSkeleton } from '../../src/layer/skeleton-task.ts';
import { LayerContents } from '../../src/lazy/layer-contents.ts';
import { holeXattr } from '../../src/lazy/place.ts';
import { lgetxattr } from '../../src/linux/index.ts';
import { digestOf } from '../../src/oci/index.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-tables-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const blobSize = 1e9;
const chunkDigest = digestOf(Buffer.from('one'));
const file = { type: 'reg', name: 'file', size: 3, offset: 10, chunkDigest };

function tableOf(entries: unknown) {
  const bytes = zlib.zstdCompressSync(JSON.stringify({ version: 1, entries }));
  return { compression: 'zstdchunked' as const, digest: digestOf(bytes), bytes, at: blobSize };
}

/** Writes a layer's files without contents. Returns the folder of its table. */
function skeleton(entries: unknown): string {
  const fs = join(dir, 'fs');
  mkdirSync(fs);
  const table = join(dir, 'lazy');
  const blob = { source: 'localhost/base:1', blob: { digest: digestOf('blob'), size: blobSize } };
  const context = { aborted: () => false, post: () => {} };
  writeSkeleton({ toc: tableOf(entries), dir: fs, lower: { kind: 'empty' }, table, blob }, context as never);
  return table;
}

describe('the layer is fetched whole when its table has', () => {
  const size = 1 << 30;
  test.each<[string, unknown]>([
    ['an entry that is none', [null]],
    ['a text as entry', ['file']],
    [
      'a chunk too large to be held in memory',
      [
        { ...file, size },
        { ...file, offset: 20 },
      ],
    ],
    ['a chunk whose packed bytes are too many', [file]],
    [
      'a chunk that is far inside of its part',
      [
        { ...file, innerOffset: size },
        { ...file, offset: 20 },
      ],
    ],
    ['a type that is none', [{ ...file, type: 'constructor' }]],
    ['a symlink without target', [{ type: 'symlink', name: 'link' }]],
    ['an owner beyond 32 bits', [{ ...file, size: 0, uid: 2 ** 40 }]],
    [
      'an attribute larger than Linux takes',
      [{ ...file, size: 0, xattrs: { 'user.a': 'A'.repeat(90_000) } }],
    ],
    ['a name longer than Linux takes', [{ ...file, size: 0, name: 'x'.repeat(256) }]],
    ['a chunk beyond its file', [{ ...file, chunkOffset: 1, chunkSize: 3 }]],
    ['more zeros than any disk has', [{ type: 'reg', name: 'z', size: 2 ** 53 - 1, chunkType: 'zeros' }]],
    [
      'more zeros than any disk has, in many files',
      Array.from({ length: 64 }, (_, i) => ({
        type: 'reg',
        name: `z${i}`,
        size: 2 ** 42,
        chunkType: 'zeros',
      })),
    ],
  ])('%s', (_, entries) => {
    expect(() => readToc(tableOf(entries))).toThrow(expect.objectContaining({ code: 'unsupported' }));
  });
});

test('a run of zeros takes no time and no room, and nothing is fetched for it', async () => {
  const size = 40 * 2 ** 30 + 5;
  const folder = skeleton([
    { type: 'reg', name: 'sparse', size, chunkSize: size - 3, chunkType: 'zeros' },
    { type: 'chunk', name: 'sparse', chunkOffset: size - 3, offset: 10, endOffset: 13, chunkDigest },
    { type: 'reg', name: 'rest', size: 3, offset: 13, endOffset: 16, chunkDigest },
  ]);
  const asked: unknown[] = [];
  const fetch = async (_: unknown, range: { offset: number; length: number }) => {
    asked.push(range);
    return zlib.zstdCompressSync('one');
  };
  const contents = new LayerContents(folder, fetch, new Limiter(1));
  const zeros = Buffer.alloc(1 << 20, 1);
  await contents.read(0, size - 2 ** 21, zeros);
  expect(zeros.equals(Buffer.alloc(1 << 20))).toBe(true);
  expect(asked).toEqual([]);
  const end = Buffer.alloc(5, 1);
  await expect(contents.read(0, size - 5, end)).rejects.toThrow();
  expect(asked).toEqual([{ offset: 10, length: 6 }]);
});

test('contents of a whiteout are none of the file before it', () => {
  skeleton([
    { ...file, endOffset: 13 },
    { type: 'reg', name: '.wh.gone', size: 3, offset: 13, endOffset: 16, chunkDigest },
    { type: 'reg', name: 'last', size: 3, offset: 16, endOffset: 19, chunkDigest },
  ]);
  const numbers = ['file', 'last'].map((name) =>
    lgetxattr(join(dir, 'fs', name), holeXattr())
      ?.toString()
      .replace(/ .*/, ''),
  );
  expect(numbers).toEqual(['0', '1']);
});
