/**
 * Compresses a stream in blocks, several at once, on zlib's own threads. Blocks have a fixed size, so the result
 * depends on the bytes, the kind and the level only, never on the machine. gzip: one member; each block ends on a byte
 * boundary and may refer to the 32 KiB before it (RFC 1951, 1952). zstd: one frame for each block (RFC 8878 §3.1:
 * frames in a row are one stream).
 */
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import type { Compression } from './types.ts';

const deflateRaw = promisify(zlib.deflateRaw) as (data: Buffer, options: zlib.ZlibOptions) => Promise<Buffer>;

// gzip's 6 takes 1.7 times as long as its 4, for layers that are 2 to 3 % smaller. zstd's 3 takes 1.4 times as long as its
// 2 (as zstdBlocks sets it up), for layers of the same size.
const defaultLevels = { uncompressed: 0, gzip: 4, zstd: 2, estargz: 4, zstdchunked: 3 } as const;

/** The compressions of blocks, which do not look at what is in the tar. */
export type BlockCompression = Compression & { type: 'uncompressed' | 'gzip' | 'zstd' };

/** The level of a compression, or the default of its kind. */
export function levelOf({ type, level }: Compression): number {
  return type === 'uncompressed' ? 0 : (level ?? defaultLevels[type]);
}

/** The bytes of a block. */
export function blockSizeOf(compression: BlockCompression): number {
  if (compression.type !== 'zstd') return 1 << 20;
  // zstd's 3 was once the default: stores have images whose layers must give the same blobs again.
  return levelOf(compression) === 3 ? 4 << 20 : 8 << 20;
}

/**
 * The largest number of blocks that are compressed at once. The pool has 4 threads: more of zstd's large blocks would
 * only take memory.
 */
export function parallelBlocksOf({ type }: BlockCompression): number {
  const blocks = Math.max(2, availableParallelism() + 1);
  return type === 'zstd' ? Math.min(blocks, 5) : blocks;
}

const dictionarySize = 32 * 1024;
const { Z_SYNC_FLUSH, Z_FINISH } = zlib.constants;

/** Compresses blocks. Call `block` for each in order, and write the results in that order. */
export interface BlockCompressor {
  /** The bytes before the first block. */
  readonly head: Buffer;
  /**
   * Compresses one block, into parts that follow one another. All blocks but the last must have the size of
   * `blockSizeOf`. The buffer must not change before the promise resolves.
   */
  block(data: Buffer, last: boolean): Promise<readonly Buffer[]>;
  /** The bytes after the last block. */
  tail(): Buffer;
}

export function blockCompressor(compression: BlockCompression): BlockCompressor {
  const level = levelOf(compression);
  switch (compression.type) {
    case 'uncompressed':
      return { head: empty, block: async (data) => [data], tail: () => empty };
    case 'gzip':
      return gzipBlocks(level, compression.early ? 8 : 9);
    case 'zstd':
      return zstdBlocks(level, compression.early);
  }
}

const empty = Buffer.alloc(0);
// The header has no name, no time and an unknown OS.
const gzipHead = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);

/** `memLevel`: zlib's 9 takes a tenth less time than its 8, for 128 KiB more memory and layers 0.3 % larger. */
function gzipBlocks(level: number, memLevel: number): BlockCompressor {
  let crc = 0;
  let size = 0;
  let before: Buffer | undefined;
  return {
    head: gzipHead,
    async block(data, last) {
      crc = zlib.crc32(data, crc);
      size = (size + data.length) >>> 0;
      const dictionary = before;
      // This is a copy, since the block's memory is used again.
      before = last ? undefined : Buffer.from(data.subarray(Math.max(0, data.length - dictionarySize)));
      const options = {
        dictionary,
        memLevel,
        finishFlush: last ? Z_FINISH : Z_SYNC_FLUSH,
        chunkSize: 512 * 1024,
      };
      const packable = level > 1 && (await isPackable(data));
      return [await deflateRaw(data, { ...options, level: packable || level <= 1 ? level : 0 })];
    },
    tail() {
      const tail = Buffer.alloc(8);
      tail.writeUInt32LE(crc >>> 0, 0);
      tail.writeUInt32LE(size, 4);
      return tail;
    },
  };
}

/**
 * Whether a few samples of the data get smaller. If not (images, archives), the data is stored uncompressed, at no
 * cost. One sample that gets much smaller is enough.
 */
export async function isPackable(data: Buffer): Promise<boolean> {
  const sample = 16 * 1024;
  const samples = 4;
  if (data.length < 2 * samples * sample) return true;
  let packed = 0;
  for (let i = 0; i < samples; i++) {
    const at = Math.floor((i * (data.length - sample)) / (samples - 1));
    const { length } = await deflateRaw(data.subarray(at, at + sample), { level: 1 });
    if (length < 0.9 * sample) return true;
    packed += length;
  }
  return packed < samples * sample * 0.985;
}

function zstdBlocks(level: number, early: true | undefined): BlockCompressor {
  const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag, ZSTD_c_windowLog, ZSTD_c_minMatch, ZSTD_c_hashLog } =
    zlib.constants;
  const params: Record<number, number> = { [ZSTD_c_compressionLevel]: level, [ZSTD_c_checksumFlag]: 1 };
  if (level !== 3) {
    // What was anywhere in the block before can be referred to: 8 MiB, which readers must be able to hold (RFC 8878
    // §3.1.1.1.2).
    params[ZSTD_c_windowLog] = 23;
    if (level === 2 && early) params[ZSTD_c_minMatch] = 5;
    else if (level === 2) {
      // Longer matches are found faster, and a larger table finds more of them.
      params[ZSTD_c_minMatch] = 6;
      params[ZSTD_c_hashLog] = 17;
    }
  }
  return {
    head: empty,
    block: (data) => zstdParts(data, { chunkSize: 512 * 1024, pledgedSrcSize: data.length, params }),
    tail: () => empty,
  };
}

/** Compresses as `zlib.zstdCompress` does, which would copy the parts into one buffer in the end. */
function zstdParts(data: Buffer, options: zlib.ZstdOptions): Promise<readonly Buffer[]> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const stream = zlib.createZstdCompress(options);
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.once('end', () => resolve(parts));
    stream.once('error', reject);
    stream.end(data);
  });
}
