/**
 * The table of a lazy layer on disk: where the content of each file is in the layer's blob, chunk by chunk. It has
 * records of equal size, so that a large one is read without being parsed.
 *
 * - `layer.json`: the blob, and an image that has it
 * - `files`: for each file with content its first chunk, and how many chunks it has
 * - `chunks`: for each chunk its place in the file, in the blob and in `data`, and its digest
 * - `have`: a byte for each chunk, 1 when its bytes are in `data`
 * - `data`: the contents of all files, one after the other; a hole where nothing was fetched yet
 */
import {
  accessSync,
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fail } from '../errors/index.ts';
import type { Descriptor } from '../oci/index.ts';

/** The blob of a lazy layer, and where it is. */
export interface LazyBlob {
  /** The reference of an image that has the blob. */
  source: string;
  blob: Pick<Descriptor, 'digest' | 'size'>;
  compression: 'estargz' | 'zstdchunked';
  /** Where in the blob the files end that the layer asks for ahead; missing when it asks for none. */
  prefetch?: number;
}

/** A part of a file's content. All numbers are in bytes. */
export interface LazyChunk {
  /** Where it begins in the file. */
  offset: number;
  size: number;
  /** Where it begins in what its part of the blob decompresses to. */
  inner: number;
  /** The part of the blob that has it; empty when all of its bytes are zero. */
  at: number;
  end: number;
  sha256: Buffer;
}

/** Whether all bytes of a chunk are zero: it is nowhere in the blob, and a hole in `data`. */
export function isZeros({ at, end }: LazyChunk): boolean {
  return at === end;
}

/** A chunk of a layer that is on disk. */
export interface PlacedChunk extends LazyChunk {
  /** Where its bytes are in `data`; those of a file follow one another. */
  place: number;
}

/** A file with content. */
interface LazyFile {
  /** The number of its first chunk, and how many follow one another. */
  first: number;
  count: number;
}

const fileSize = 8;
const chunkSize = 72;

/** Writes the table of a new lazy layer. */
export class LayerTableWriter {
  readonly #files: LazyFile[] = [];
  readonly #chunks: PlacedChunk[] = [];
  #place = 0;

  /** Adds a file with its chunks in order, and returns its number. */
  add(chunks: readonly LazyChunk[]): number {
    this.#files.push({ first: this.#chunks.length, count: chunks.length });
    for (const chunk of chunks) {
      this.#chunks.push({ ...chunk, place: this.#place });
      this.#place += chunk.size;
    }
    return this.#files.length - 1;
  }

  /** Makes the folder with the table in it. */
  write(folder: string, blob: LazyBlob): void {
    mkdirSync(folder, { mode: 0o700 });
    const put = (name: string, bytes: Buffer) => writeFileSync(join(folder, name), bytes, { mode: 0o600 });
    put('layer.json', Buffer.from(JSON.stringify(blob)));
    const files = Buffer.alloc(this.#files.length * fileSize);
    for (const [i, file] of this.#files.entries()) {
      files.writeUInt32LE(file.first, i * fileSize);
      files.writeUInt32LE(file.count, i * fileSize + 4);
    }
    put('files', files);
    const chunks = Buffer.alloc(this.#chunks.length * chunkSize);
    for (const [i, chunk] of this.#chunks.entries()) {
      const at = i * chunkSize;
      chunks.writeDoubleLE(chunk.offset, at);
      chunks.writeUInt32LE(chunk.size, at + 8);
      chunks.writeUInt32LE(chunk.inner, at + 12);
      chunks.writeDoubleLE(chunk.at, at + 16);
      chunks.writeDoubleLE(chunk.end, at + 24);
      chunks.writeDoubleLE(chunk.place, at + 32);
      chunk.sha256.copy(chunks, at + 40);
    }
    put('chunks', chunks);
    put('have', Buffer.alloc(this.#chunks.length));
    const data = openSync(join(folder, 'data'), 'wx', 0o600);
    ftruncateSync(data, this.#place);
    closeSync(data);
  }
}

/** The table of a lazy layer, in memory. */
export class LayerTable {
  readonly layer: LazyBlob;
  readonly #files: Buffer;
  readonly #chunks: Buffer;

  /** Reads it. Throws `corrupt` for one that is damaged, and ENOENT when the layer is gone. */
  constructor(folder: string) {
    accessSync(folder);
    const read = <T>(name: string, parse: (bytes: Buffer) => T): T => {
      try {
        return parse(readFileSync(join(folder, name)));
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw fail('corrupt', 'store', `the lazy layer in ${folder} is damaged: ${name}: ${why}`, {
          hint: 'What stands on it cannot be used: remove it with `drydock prune --all`, and build again.',
          cause,
        });
      }
    };
    this.layer = read('layer.json', blobOf);
    this.#files = read('files', (bytes) => recordsOf(bytes, fileSize));
    this.#chunks = read('chunks', (bytes) => recordsOf(bytes, chunkSize));
    read('have', (bytes) => recordsOf(bytes, 1, this.chunkCount));
    // A file's chunks follow one another, so that the last file is the one that ends last.
    const count = this.#files.length / fileSize;
    const last = count === 0 ? undefined : this.file(count - 1);
    read('files', () => {
      if ((last === undefined ? 0 : last.first + last.count) !== this.chunkCount)
        throw new Error('it does not go with the chunks');
    });
  }

  get chunkCount(): number {
    return this.#chunks.length / chunkSize;
  }

  file(number: number): LazyFile {
    const at = number * fileSize;
    return { first: this.#files.readUInt32LE(at), count: this.#files.readUInt32LE(at + 4) };
  }

  chunk(number: number): PlacedChunk {
    const at = number * chunkSize;
    return {
      offset: this.#chunks.readDoubleLE(at),
      size: this.#chunks.readUInt32LE(at + 8),
      inner: this.#chunks.readUInt32LE(at + 12),
      at: this.#chunks.readDoubleLE(at + 16),
      end: this.#chunks.readDoubleLE(at + 24),
      place: this.#chunks.readDoubleLE(at + 32),
      sha256: this.#chunks.subarray(at + 40, at + 72),
    };
  }

  /** The numbers of the first chunk of a file that ends after `offset`, and of the last that begins before `end`. */
  chunksOf({ first, count }: LazyFile, offset: number, end: number): [first: number, last: number] {
    const begins = (position: number) => {
      let low = first;
      let high = first + count - 1;
      while (low < high) {
        const middle = (low + high + 1) >>> 1;
        if (this.chunk(middle).offset <= position) low = middle;
        else high = middle - 1;
      }
      return low;
    };
    return [begins(offset), begins(end - 1)];
  }
}

function blobOf(bytes: Buffer): LazyBlob {
  const { source, blob, compression, prefetch } = JSON.parse(bytes.toString('utf8')) as Partial<LazyBlob>;
  if (typeof source !== 'string' || blob === undefined || compression === undefined)
    throw new Error('it names no blob');
  return { source, blob, compression, prefetch };
}

function recordsOf(bytes: Buffer, size: number, count = bytes.length / size): Buffer {
  if (!Number.isInteger(count) || bytes.length !== count * size) throw new Error('it is cut short');
  return bytes;
}
