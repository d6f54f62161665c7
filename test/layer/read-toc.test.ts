/** Tables of contents of chunked layers, as others write them too: what of them is enough to fetch files one by one. */
import { createHash } from 'node:crypto';
import zlib from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readToc } from '../../src/layer/chunked/read-toc.ts';
import { fetchToc, hasToc } from '../../src/layer/chunked/toc-place.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { Descriptor } from '../../src/oci/types.ts';

const sha = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
/** A zstd:chunked's table, whose chunks end before byte 1000. */
const read = (entries: unknown) => {
  const bytes = zlib.zstdCompressSync(Buffer.from(JSON.stringify({ version: 1, entries })));
  return readToc({ compression: 'zstdchunked', digest: digestOf(bytes), bytes, at: 1000 });
};
const file = { type: 'reg', name: 'f', size: 3, digest: sha('abc'), offset: 10, endOffset: 20 };

test('an entry has what the archive has of it', () => {
  const [link, found] = read([
    { type: 'symlink', name: './dir/link/', linkName: '../f', mode: 0o120777 },
    { ...file, mode: 0o4755, uid: 5, modtime: '2024-01-01T00:00:00.5+01:00', xattrs: { 'user.a': 'AP8=' } },
  ]);
  expect(link).toMatchObject({ entry: { path: 'dir/link', type: 'symlink', link: '../f', mode: 0o777 } });
  expect(found?.entry).toMatchObject({ path: 'f', mode: 0o4755, uid: 5, size: 3 });
  expect(found?.entry.mtimeNs).toBe(BigInt(Date.parse('2023-12-31T23:00:00Z')) * 1_000_000n + 500_000_000n);
  expect(found?.entry.xattrs.get('user.a')).toEqual(Buffer.from([0, 255]));
  expect(found?.chunks).toMatchObject([{ offset: 0, size: 3, at: 10, end: 20, inner: 0 }]);
});

test('a chunk ends where the next part of the blob begins, and the last one where the table does', () => {
  const chunk = { type: 'chunk', name: 'f', offset: 60, chunkOffset: 2, chunkDigest: sha('c') };
  const first = { ...file, endOffset: undefined, chunkSize: 2, chunkDigest: sha('ab') };
  const [found] = read([first, chunk]);
  expect(found?.chunks).toMatchObject([
    { offset: 0, size: 2, at: 10, end: 60 },
    { offset: 2, size: 1, at: 60, end: 1000 },
  ]);
});

test('several files in one part, and a chunk of zeros', () => {
  const inner = { ...file, endOffset: undefined };
  const [one, two, zeros] = read([
    inner,
    { ...inner, name: 'g', innerOffset: 515 },
    { type: 'reg', name: 'z', size: 8, chunkType: 'zeros', offset: 30 },
  ]);
  expect([one?.chunks[0], two?.chunks[0]]).toMatchObject([
    { at: 10, inner: 0 },
    { at: 10, inner: 515 },
  ]);
  expect(zeros?.chunks).toMatchObject([{ size: 8, at: 0, end: 0 }]);
  expect(`sha256:${zeros?.chunks[0]?.sha256.toString('hex')}`).toBe(digestOf(Buffer.alloc(8)));
});

describe('a table that does not tell enough', () => {
  test.each([
    ['a chunk without a digest', [{ ...file, digest: undefined }]],
    ['a digest of another kind', [{ ...file, digest: 'md5:00' }]],
    [
      'a file with a gap',
      [
        { ...file, chunkSize: 1, chunkDigest: sha('a') },
        { type: 'chunk', chunkOffset: 2, offset: 30, chunkDigest: sha('c') },
      ],
    ],
    ['a file without chunks at its end', [{ ...file, chunkSize: 1, chunkDigest: sha('a') }]],
    ['a chunk behind the table', [{ ...file, offset: 2000 }]],
    ['a name that has lost bytes', [{ ...file, name: 'f\ufffd' }]],
    ['a size that is none', [{ ...file, size: -1 }]],
    ['a text that is none', [{ ...file, name: 7 }]],
    ['an unknown type', [{ ...file, type: 'door' }]],
    ['no list', { f: file }],
    [
      'zeros of more lengths than anybody writes',
      Array.from({ length: 260 }, (_, i) => ({
        type: 'reg',
        name: `z${i}`,
        size: (4 << 20) - i,
        chunkType: 'zeros',
      })),
    ],
  ])('%s', (_, entries) => {
    expect(() => read(entries)).toThrow(expect.objectContaining({ code: 'unsupported' }));
  });
});

test('a table with another digest is damaged', () => {
  const bytes = zlib.zstdCompressSync(Buffer.from('{"entries":[]}'));
  const toc = { compression: 'zstdchunked', digest: digestOf('other'), bytes, at: 0 } as const;
  expect(() => readToc(toc)).toThrow(expect.objectContaining({ code: 'corrupt' }));
  expect(() => readToc({ ...toc, compression: 'estargz' })).toThrow(
    expect.objectContaining({ code: 'corrupt' }),
  );
});

describe('where the table is', () => {
  const zstd = (annotations: Record<string, string>): Descriptor => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd',
    digest: digestOf('blob'),
    size: 5000,
    annotations,
  });
  const ranges: unknown[] = [];
  const reader = async (range: { offset: number; length: number }) => {
    ranges.push(range);
    return Buffer.alloc(range.length);
  };

  test.each(['io.github.containers', 'io.containers'])(
    'a zstd:chunked’s annotations say (%s)',
    async (prefix) => {
      const blob = zstd({
        [`${prefix}.zstd-chunked.manifest-checksum`]: sha('x'),
        [`${prefix}.zstd-chunked.manifest-position`]: '4000:500:900:1',
      });
      expect(hasToc(blob)).toBe(true);
      expect(await fetchToc(blob, reader)).toMatchObject({ at: 3992, digest: sha('x') });
      expect(ranges.at(-1)).toEqual({ offset: 4000, length: 500 });
    },
  );

  test.each(['4000:5000:900:1', '4000:500:900:2', 'x:y:z:1', '-1:5:5:1', '7:5:5:1'])(
    'not %s',
    async (position) => {
      const blob = zstd({
        'io.github.containers.zstd-chunked.manifest-checksum': sha('x'),
        'io.github.containers.zstd-chunked.manifest-position': position,
      });
      await expect(fetchToc(blob, reader)).rejects.toMatchObject({ code: 'unsupported' });
    },
  );

  test('an eStargz’s footer says, and other layers have none', async () => {
    const blob: Descriptor = {
      ...zstd({ 'containerd.io/snapshot/stargz/toc.digest': sha('x') }),
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    };
    expect(hasToc(blob)).toBe(true);
    expect(hasToc({ ...blob, annotations: {} })).toBe(false);
    await expect(fetchToc(blob, reader)).rejects.toThrow('its end is no footer of eStargz');
  });
});
