/**
 * zstd:chunked: a zstd blob whose files can be read one by one. Each chunk of a file is a frame of its own. The table of
 * contents, the archive without its files' contents (tar-split) and a footer follow in frames that decoders skip (RFC
 * 8878 §3.1.2), so that the archive and its diff ID stay as they are.
 * https://github.com/containers/storage/blob/main/docs/containers-storage-zstd-chunked.md
 */
import zlib from 'node:zlib';
import { digestOf, zstdChunkedAnnotations } from '../../oci/index.ts';
import type { TarEntry } from '../../tar/index.ts';
import { type ChunkedEnd, type ChunkedEntry, spelled } from './chunks.ts';
import { isoTime, jsonName, xattrsOf } from './estargz.ts';

const frameHead = 8;
/** The type of a table in the form of CRFS, which is the only one. */
const crfs = 1;

/**
 * The frames after the last one of a blob that has `blobSize` bytes so far. Without the archive's split (`split`), other
 * tools read the layer as a whole: they could not make the archive again.
 */
export function zstdChunkedEnd(
  entries: readonly ChunkedEntry[],
  { blobSize, split, level }: { blobSize: number; split: Buffer | undefined; level: number },
): ChunkedEnd {
  const packedSplit = split && zstd(split, level);
  const toc = {
    version: 1,
    entries: entries.flatMap(tocEntries),
    tarSplitDigest: packedSplit && digestOf(packedSplit),
  };
  const json = Buffer.from(JSON.stringify(toc));
  const packed = zstd(json, level);
  const tocAt = blobSize + frameHead;
  const splitAt = tocAt + packed.length + frameHead;
  const position = [tocAt, packed.length, json.length, crfs];
  const splitPosition = packedSplit && [splitAt, packedSplit.length, split.length];
  return {
    bytes: Buffer.concat([
      skipped(packed),
      ...(packedSplit === undefined ? [] : [skipped(packedSplit)]),
      skipped(footer([...position, ...(splitPosition ?? [0, 0, 0])])),
    ]),
    annotations: {
      [zstdChunkedAnnotations.manifestChecksum]: digestOf(packed),
      [zstdChunkedAnnotations.manifestPosition]: position.join(':'),
      ...(splitPosition && { [zstdChunkedAnnotations.tarSplitPosition]: splitPosition.join(':') }),
    },
  };
}

function footer(numbers: readonly number[]): Buffer {
  const out = Buffer.alloc(64);
  for (const [i, n] of numbers.entries()) out.writeBigUInt64LE(BigInt(n), 8 * i);
  out.write('GNUlInUx', 56, 'latin1');
  return out;
}

function skipped(data: Buffer): Buffer {
  const head = Buffer.alloc(frameHead);
  head.writeUInt32LE(0x184d2a50, 0);
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data]);
}

function zstd(data: Buffer, level: number): Buffer {
  const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag } = zlib.constants;
  return zlib.zstdCompressSync(data, {
    pledgedSrcSize: data.length,
    params: { [ZSTD_c_compressionLevel]: level, [ZSTD_c_checksumFlag]: 1 },
  });
}

const empty = { size: 0, uid: 0, gid: 0, mode: 0, devMajor: 0, devMinor: 0, offset: 0, endOffset: 0 };

function tocEntries({ entry, chunks, sha256, end }: ChunkedEntry): Record<string, unknown>[] {
  const { path, link } = spelled(entry);
  const name = jsonName(path);
  const isFile = entry.type === 'file';
  const first = chunks[0];
  const whole = {
    type: isFile ? 'reg' : entry.type,
    name,
    linkName: link === '' ? undefined : jsonName(link),
    mode: entry.mode,
    size: isFile ? entry.size : 0,
    uid: entry.uid,
    gid: entry.gid,
    modtime: nanoTime(entry),
    devMajor: entry.devmajor,
    devMinor: entry.devminor,
    xattrs: xattrsOf(entry.xattrs),
    digest: first === undefined || sha256 === undefined ? undefined : `sha256:${sha256}`,
    offset: first?.at ?? 0,
    endOffset: first === undefined ? 0 : end,
  };
  // A field that is missing is zero.
  const lean = Object.fromEntries(
    Object.entries(whole).filter(([key, value]) => !(key in empty && value === 0)),
  );
  if (chunks.length < 2) return [lean];
  return chunks.map(({ offset, size, sha256, at }, i) => ({
    ...(i === 0 ? lean : { type: 'chunk', name, offset: at }),
    chunkSize: size,
    ...(offset === 0 ? {} : { chunkOffset: offset }),
    chunkDigest: `sha256:${sha256}`,
  }));
}

/** RFC 3339 with nanoseconds; undefined for a year that does not have four digits. */
export function nanoTime({ mtimeNs }: Pick<TarEntry, 'mtimeNs'>): string | undefined {
  const fraction = ((mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const text = isoTime(Number((mtimeNs - fraction) / 1_000_000n));
  if (text === undefined || fraction === 0n) return text?.replace('.000Z', 'Z');
  const digits = String(fraction).padStart(9, '0').replace(/0+$/, '');
  return text.replace('.000Z', `.${digits}Z`);
}
