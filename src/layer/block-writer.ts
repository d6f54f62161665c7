/** The path of a tar's bytes: into blocks, hashed, compressed, hashed again, and written. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import type { Digest } from '../oci/index.ts';
import {
  type BlockCompression,
  type BlockCompressor,
  blockCompressor,
  blockSizeOf,
  parallelBlocksOf,
} from './block-compress.ts';
import { freeBlocks, giveBlock, takeBlock } from './block-memory.ts';

/** Takes finished bytes in order. The buffer belongs to the writer again when `write` (or its promise) is done. */
export interface BlockSink {
  write(data: Buffer): void | Promise<void>;
}

/** The digests and sizes of a layer's tar and of its blob. */
export interface WrittenLayer {
  /** The digest of the decompressed blob. */
  diffId: Digest;
  /** The digest of the tar that was put in; another one when the blob has more in it. */
  tarId: Digest;
  /** Bytes of the decompressed blob. */
  size: number;
  digest: Digest;
  /** Bytes of the blob. */
  blobSize: number;
  /** The annotations that tell readers how to read the blob's files one by one. */
  annotations?: Record<string, string>;
}

/**
 * Writes a tar's bytes as a blob. `put` and `putFile` are synchronous and never wait. When they report that the memory
 * is full, call `drain` before the next write, so that only a few blocks are in memory.
 *
 *     if (writer.put(header)) await writer.drain();
 */
export interface LayerWriter {
  /** Adds bytes. Returns whether `drain` is due. */
  put(data: Buffer): boolean;
  /**
   * Adds up to `length` bytes of an open file from `position` on (null: its current one); returns their number, 0 at
   * the end. Ask `full` afterwards.
   */
  putFile(fd: number, length: number, position?: number | null): number;
  readonly full: boolean;
  /** Waits until there is room again. */
  drain(): Promise<void>;
  finish(): Promise<WrittenLayer>;
  /** Waits for the bytes being compressed, which use our memory, when the writing is given up. */
  abort(): Promise<void>;
}

/** Writes blobs whose tar is compressed in blocks of one size, whatever is in it. */
export class BlockWriter implements LayerWriter {
  #plain = createHash('sha256');
  /** The hash of the blob; unused when the blob is the tar itself. */
  #packed = createHash('sha256');
  #compressor: BlockCompressor;
  #raw: boolean;
  #sink: BlockSink | undefined;
  #blockSize: number;
  /** How many blocks may be in work at one time. */
  #parallel: number;
  #block: Buffer;
  #fill = 0;
  #size = 0;
  #blobSize = 0;
  #pending: { data: Buffer; result: Promise<readonly Buffer[]> }[] = [];
  #started = false;

  /** Without a sink the bytes are only hashed. */
  constructor(compression: BlockCompression, sink: BlockSink | undefined) {
    this.#compressor = blockCompressor(compression);
    this.#raw = compression.type === 'uncompressed';
    this.#sink = sink;
    this.#blockSize = blockSizeOf(compression);
    this.#parallel = parallelBlocksOf(compression);
    this.#block = takeBlock(this.#blockSize);
  }

  put(data: Buffer): boolean {
    let at = 0;
    while (at < data.length) {
      const n = data.copy(this.#block, this.#fill, at);
      at += n;
      this.#advance(n);
    }
    return this.#pending.length >= this.#parallel;
  }

  putFile(fd: number, length: number, position: number | null = null): number {
    const most = Math.min(length, this.#blockSize - this.#fill);
    const n = readSync(fd, this.#block, this.#fill, most, position);
    this.#advance(n);
    return n;
  }

  get full(): boolean {
    return this.#pending.length >= this.#parallel;
  }

  async drain(limit = this.#parallel - 1): Promise<void> {
    while (this.#pending.length > limit) {
      const { data, result } = this.#pending[0]!;
      const parts = await result;
      this.#pending.shift();
      for (const part of parts) await this.#out(part);
      if (!this.#raw) freeBlocks(parts);
      giveBlock(data);
    }
  }

  async finish(): Promise<WrittenLayer> {
    this.#hand(true);
    await this.drain(0);
    await this.#out(this.#compressor.tail());
    const diffId: Digest = `sha256:${this.#plain.digest('hex')}`;
    return {
      diffId,
      tarId: diffId,
      size: this.#size,
      digest: this.#raw ? diffId : `sha256:${this.#packed.digest('hex')}`,
      blobSize: this.#blobSize,
    };
  }

  async abort(): Promise<void> {
    await Promise.allSettled(this.#pending.map(({ result }) => result));
  }

  #advance(n: number): void {
    this.#fill += n;
    if (this.#fill === this.#blockSize) this.#hand(false);
  }

  #hand(last: boolean): void {
    const data = this.#fill === this.#block.length ? this.#block : this.#block.subarray(0, this.#fill);
    this.#fill = 0;
    this.#size += data.length;
    this.#plain.update(data);
    if (this.#raw && this.#sink === undefined) {
      this.#blobSize += data.length;
      if (last) giveBlock(this.#block);
      return; // hashed and done: the same block again
    }
    const result = this.#compressor.block(data, last);
    result.catch(() => {}); // told by drain
    this.#pending.push({ data: this.#block, result });
    if (!last) this.#block = takeBlock(this.#blockSize);
  }

  async #out(data: Buffer): Promise<void> {
    if (!this.#started) {
      this.#started = true;
      if (this.#compressor.head.length > 0) await this.#out(this.#compressor.head);
    }
    if (data.length === 0) return;
    this.#blobSize += data.length;
    if (!this.#raw) this.#packed.update(data);
    const waiting = this.#sink?.write(data);
    if (waiting !== undefined) await waiting;
  }
}

/** A sink that writes a new file. */
export class FileSink implements BlockSink {
  #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, 'wx', 0o644);
  }

  write(data: Buffer): void {
    for (let at = 0; at < data.length; ) at += writeSync(this.#fd, data, at);
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}
