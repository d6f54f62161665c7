/** Decompresses the chunks of a layer and checks them. */
import { createHash } from 'node:crypto';
import zlib from 'node:zlib';
import { fail } from '../errors/index.ts';
import type { LazyChunk } from './layer-table.ts';

/** What may follow a chunk in its part of the blob: the headers of files without content. */
const mostAfter = 16 << 20;

/**
 * Decompresses a part of a blob of which `size` bytes are wanted. Throws `corrupt` when it cannot be, or becomes far
 * longer. (It is synchronous, since Node's threads for other work may all be waiting for reads of lazy files.)
 */
export function unpackPart(packed: Buffer, size: number, compression: 'estargz' | 'zstdchunked'): Buffer {
  const limits = { maxOutputLength: size + mostAfter };
  try {
    return compression === 'estargz'
      ? zlib.gunzipSync(packed, limits)
      : zlib.zstdDecompressSync(packed, limits);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw fail('corrupt', 'registry', `a part of the blob cannot be decompressed: ${why}`, { cause });
  }
}

/** The bytes of a chunk in its decompressed part. Throws `corrupt` when they have another digest. */
export function chunkIn(plain: Buffer, chunk: LazyChunk): Buffer {
  const bytes = plain.subarray(chunk.inner, chunk.inner + chunk.size);
  if (isIntact(bytes, chunk)) return bytes;
  throw fail('corrupt', 'registry', 'a part of the blob has another digest than its table of contents says');
}

/** Whether these are the bytes of a chunk, by its size and digest. */
export function isIntact(bytes: Buffer, { size, sha256 }: LazyChunk): boolean {
  return bytes.length === size && createHash('sha256').update(bytes).digest().equals(sha256);
}
