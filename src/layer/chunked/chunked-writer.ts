/**
 * Writes a tar's bytes as a blob whose files can be read one by one (eStargz, zstd:chunked). It reads the archive's
 * headers to know where files begin, and compresses each chunk of a file alone.
 */
import { createHash, hash } from 'node:crypto';
import { readSync } from 'node:fs';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { fail } from '../../errors/index.ts';
import type { Digest } from '../../oci/index.ts';
import { type TarEntry, TarParser } from '../../tar/index.ts';
import { isPackable, levelOf } from '../block-compress.ts';
import type { BlockSink, LayerWriter, WrittenLayer } from '../block-writer.ts';
import type { Compression } from '../types.ts';
import { Boundaries } from './boundaries.ts';
import type { Chunk, ChunkedEnd, ChunkedEntry } from './chunks.ts';
import { estargzChunk, estargzEnd, gzipMember, tocName } from './estargz.ts';
import { Crc64, TarSplit } from './tar-split.ts';
import { zstdChunkedEnd } from './zstd-chunked.ts';

const deflateRaw = promisify(zlib.deflateRaw) as (data: Buffer, options: zlib.ZlibOptions) => Promise<Buffer>;
const zstdCompress = promisify(zlib.zstdCompress) as (
  data: Buffer,
  options: zlib.ZstdOptions,
) => Promise<Buffer>;

/** Bytes that are compressed together, in the archive's order. */
interface Part {
  bytes: Buffer[];
  size: number;
  /** The chunk with which the part begins, and its file. */
  chunk?: { of: ChunkedEntry; offset: number; size: number };
}

/** The bytes and the parts that may be in work at one time. */
const mostBytes = 32 << 20;
const mostParts = 256;
/** A part without content is closed when it has this many bytes. */
const largeHeaders = 1 << 20;

/** The same contract as BlockWriter's. */
export class ChunkedWriter implements LayerWriter {
  readonly #estargz: boolean;
  readonly #level: number;
  readonly #sink: BlockSink | undefined;
  readonly #parser: TarParser;
  readonly #plain = createHash('sha256');
  readonly #packed = createHash('sha256');
  readonly #split: TarSplit | undefined;
  readonly #entries: ChunkedEntry[] = [];
  #size = 0;
  #blobSize = 0;
  #part: Part = { bytes: [], size: 0 };
  #pending: { result: Promise<Buffer>; size: number; done: (at: number, end: number) => void }[] = [];
  #pendingBytes = 0;
  /** The file whose content comes now, and the bytes of it that are to come. */
  #file: ChunkedEntry | undefined;
  #left = 0;
  #ended = false;
  #bounds = new Boundaries();
  #sum: ReturnType<typeof createHash> | undefined;
  #crc = new Crc64();

  /** Without a sink the bytes are only hashed. */
  constructor(compression: Compression, sink: BlockSink | undefined) {
    this.#estargz = compression.type === 'estargz';
    this.#level = levelOf(compression);
    this.#sink = sink;
    this.#split = this.#estargz ? undefined : new TarSplit();
    const entry = (found: TarEntry) => this.#begin(found);
    this.#parser = new TarParser({ entry, data: () => {}, end: () => {} }, { hop: 'export' });
  }

  put(data: Buffer): boolean {
    for (let at = 0; at < data.length; ) {
      const room = this.#left > 0 ? this.#left : this.#ended ? largeHeaders : 512 - (this.#size % 512);
      const n = Math.min(room, data.length - at);
      // This is a copy, since the caller's memory is used again.
      this.#take(Buffer.from(data.subarray(at, at + n)));
      at += n;
    }
    return this.full;
  }

  putFile(fd: number, length: number, position: number | null = null): number {
    const data = Buffer.allocUnsafe(Math.min(length, this.#left > 0 ? this.#left : 512, 1 << 20));
    const n = readSync(fd, data, 0, data.length, position);
    if (n > 0) this.#take(data.subarray(0, n));
    return n;
  }

  get full(): boolean {
    return this.#pendingBytes >= mostBytes || this.#pending.length >= mostParts;
  }

  async drain(): Promise<void> {
    while (this.full) await this.#shift();
  }

  async finish(): Promise<WrittenLayer> {
    this.#parser.finish();
    this.#close();
    while (this.#pending.length > 0) await this.#shift();
    const end = this.#end();
    const tarId: Digest = `sha256:${this.#plain.copy().digest('hex')}`;
    if (end.plain !== undefined) this.#plain.update(end.plain);
    await this.#out(end.bytes);
    return {
      tarId,
      diffId: `sha256:${this.#plain.digest('hex')}`,
      size: this.#size + (end.plain?.length ?? 0),
      digest: `sha256:${this.#packed.digest('hex')}`,
      blobSize: this.#blobSize,
      annotations: end.annotations,
    };
  }

  async abort(): Promise<void> {
    await Promise.allSettled(this.#pending.map(({ result }) => result));
  }

  #end(): ChunkedEnd {
    const at = { blobSize: this.#blobSize, level: this.#level };
    if (this.#estargz) return estargzEnd(this.#entries, { ...at, plainSize: this.#size });
    return zstdChunkedEnd(this.#entries, { ...at, split: this.#split?.finish() });
  }

  /** Takes bytes that are either content of one file or end within one block. */
  #take(data: Buffer): void {
    const isContent = this.#left > 0;
    this.#size += data.length;
    if (!isContent) {
      this.#add(data);
      this.#split?.segment(data);
      this.#parser.push(data);
      if (this.#file === undefined) this.#sawEnd();
      else this.#startContent(this.#file);
      if (this.#left === 0 && this.#part.size >= largeHeaders) this.#close();
      return;
    }
    this.#parser.push(data);
    this.#left -= data.length;
    this.#content(data);
  }

  #sawEnd(): void {
    if (this.#ended || !this.#parser.ended) return;
    this.#ended = true;
    this.#split?.end();
  }

  /** An entry's header is complete: its content begins with the next byte. */
  #begin(entry: TarEntry): void {
    if (entry.sparse !== undefined) {
      throw fail('unsupported', 'export', `${this.#name}: the layer holds a sparse file, ${entry.path}`, {
        hint: 'Use compression=gzip or zstd.',
      });
    }
    if (this.#estargz && entry.path === tocName) {
      throw fail('unsupported', 'export', `${this.#name}: the layer holds a file of the name ${tocName}`, {
        hint: 'The format keeps this name for itself. Use compression=gzip, or another name.',
      });
    }
    const file: ChunkedEntry = { entry, chunks: [], end: 0 };
    this.#entries.push(file);
    if (entry.type === 'file' && entry.size > 0) this.#file = file;
    else {
      if (entry.type === 'file' && this.#estargz) file.sha256 = hash('sha256', '');
      this.#split?.file(entry, undefined);
    }
  }

  get #name(): string {
    return `compression=${this.#estargz ? 'estargz' : 'zstdchunked'}`;
  }

  #startContent(file: ChunkedEntry): void {
    this.#close();
    this.#left = file.entry.size;
    this.#sum = undefined;
    this.#crc = new Crc64();
    this.#bounds = new Boundaries();
    this.#part.chunk = { of: file, offset: 0, size: 0 };
  }

  /** Adds content of the current file to its chunks. `#left` is what comes after it. */
  #content(data: Buffer): void {
    for (let at = 0; at < data.length; ) {
      const rest = data.length - at;
      const { chunk } = this.#part;
      if (chunk === undefined) throw fail('internal', 'export', 'content outside of a chunk');
      const cut = this.#estargz ? estargzChunk - chunk.size : this.#bounds.next(data, at);
      const n = Math.min(cut ?? rest, rest);
      this.#add(data.subarray(at, at + n));
      chunk.size += n;
      at += n;
      const isLast = at === data.length && this.#left === 0;
      if (isLast) this.#endContent();
      else if (n === cut) this.#nextChunk();
    }
  }

  #nextChunk(): void {
    const { of, offset, size } = this.#part.chunk as NonNullable<Part['chunk']>;
    this.#close();
    this.#part.chunk = { of, offset: offset + size, size: 0 };
  }

  #endContent(): void {
    const file = this.#file as ChunkedEntry;
    this.#file = undefined;
    // Of eStargz, the headers after a file's content may be compressed with it.
    if (!this.#estargz) this.#close();
    this.#split?.file(file.entry, this.#crc.digest());
  }

  #add(data: Buffer): void {
    this.#part.bytes.push(data);
    this.#part.size += data.length;
  }

  /** Hands the current part over to be compressed. */
  #close(): void {
    const { bytes, size, chunk } = this.#part;
    this.#part = { bytes: [], size: 0 };
    if (size === 0) return;
    const data = bytes.length === 1 ? (bytes[0] as Buffer) : Buffer.concat(bytes, size);
    this.#plain.update(data);
    const done = chunk === undefined ? () => {} : this.#closeChunk(data.subarray(0, chunk.size), chunk);
    const result = this.#compress(data);
    result.catch(() => {}); // told by #shift
    this.#pending.push({ result, size, done });
    this.#pendingBytes += size;
  }

  /** Notes a chunk; the result is called when its place in the blob is known. */
  #closeChunk(data: Buffer, { of, offset, size }: NonNullable<Part['chunk']>) {
    const sha256 = hash('sha256', data);
    const isWhole = size === of.entry.size;
    if (!isWhole) {
      this.#sum ??= createHash('sha256');
      this.#sum.update(data);
    }
    if (this.#split !== undefined) this.#crc.update(data);
    if (offset + size === of.entry.size) of.sha256 = isWhole ? sha256 : this.#sum?.digest('hex');
    const chunk: Chunk = { offset, size, sha256, at: 0 };
    of.chunks.push(chunk);
    return (at: number, end: number) => {
      chunk.at = at;
      of.end = end;
    };
  }

  async #compress(data: Buffer): Promise<Buffer> {
    const chunkSize = Math.min(512 * 1024, data.length + 1024);
    if (!this.#estargz) {
      const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag } = zlib.constants;
      const params = { [ZSTD_c_compressionLevel]: this.#level, [ZSTD_c_checksumFlag]: 1 };
      return zstdCompress(data, { chunkSize, pledgedSrcSize: data.length, params });
    }
    const packable = this.#level <= 1 || (await isPackable(data));
    return gzipMember(await deflateRaw(data, { level: packable ? this.#level : 0, chunkSize }), data);
  }

  async #shift(): Promise<void> {
    const first = this.#pending[0];
    if (first === undefined) return;
    const packed = await first.result;
    this.#pending.shift();
    this.#pendingBytes -= first.size;
    const at = this.#blobSize;
    await this.#out(packed);
    first.done(at, this.#blobSize);
  }

  async #out(data: Buffer): Promise<void> {
    this.#blobSize += data.length;
    this.#packed.update(data);
    const waiting = this.#sink?.write(data);
    if (waiting !== undefined) await waiting;
  }
}
