/** The contents of one lazy layer's files: those on disk, and those that the registry has. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from '../errors/index.ts';
import type { Limiter } from '../flow/index.ts';
import { readAll } from '../linux/index.ts';
import { isZeros, LayerTable, type LazyBlob, type PlacedChunk } from './layer-table.ts';
import { chunkIn, isIntact, unpackPart } from './unpack-chunk.ts';

/** Reads a range of a blob. Throws the registry's errors. */
type FetchRange = (blob: LazyBlob, range: { offset: number; length: number }) => Promise<Buffer>;

/** The bytes of the blob that are fetched at once: the fewest, and the most where files are read one after the other. */
const leastWindow = 256 << 10;
const mostWindow = 8 << 20;
/** Bytes between two chunks that are fetched with them rather than left out. */
const smallGap = 16 << 10;

/** Fetches what is read, once, and keeps it. Several processes may do so at the same time. */
export class LayerContents {
  readonly #folder: string;
  readonly #table: LayerTable;
  readonly #fetch: FetchRange;
  readonly #limit: Limiter;
  /** For each chunk, 1 when it is on disk, by what this process or another one has noted. */
  readonly #have: Buffer;
  /** For each chunk, 1 when this process has seen that the bytes on disk are those that the table names. */
  readonly #checked: Buffer;
  /** Chunks that are being fetched. */
  readonly #coming = new Map<number, Promise<void>>();
  #window = leastWindow;
  /** Where in the blob the last fetch ended. */
  #next = -1;
  #hasBegun = false;

  /** `folder`: the layer's `lazy`. Throws ENOENT when the layer is gone. */
  constructor(folder: string, fetch: FetchRange, limit: Limiter) {
    this.#folder = folder;
    this.#table = new LayerTable(folder);
    this.#fetch = fetch;
    this.#limit = limit;
    this.#have = Buffer.alloc(this.#table.chunkCount);
    this.#checked = Buffer.alloc(this.#table.chunkCount);
  }

  get blob(): LazyBlob {
    return this.#table.layer;
  }

  /**
   * Reads a file's content into `out`, which must not go beyond its end. Throws `corrupt` when the registry gives other
   * bytes than the table of contents names, and the registry's own errors.
   */
  async read(number: number, offset: number, out: Buffer): Promise<void> {
    const file = this.#table.file(number);
    const [first, last] = this.#table.chunksOf(file, offset, offset + out.length);
    const coming = this.#bring(first, last);
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      // What was asked for comes first.
      void this.#bringAhead();
    }
    await coming;
    const place = this.#table.chunk(file.first).place + offset;
    const n = this.#withFile('data', 'r', (fd) => readAll(fd, out, place));
    if (n < out.length) throw fail('corrupt', 'store', 'the fetched contents of a layer are cut short');
  }

  async #bring(first: number, last: number): Promise<void> {
    const missing: number[] = [];
    for (let i = first; i <= last; i++) if (this.#checked[i] !== 1) missing.push(i);
    if (missing.length === 0) return;
    this.#lookAgain(first, last);
    const waits: Promise<void>[] = [];
    for (const i of missing) {
      if (!this.#coming.has(i)) {
        if (this.#isHere(i)) continue;
        this.#begin(i, last);
      }
      waits.push(this.#coming.get(i) as Promise<void>);
    }
    await Promise.all(waits);
  }

  /**
   * Fetches the files that the layer asks for ahead, piece by piece, beside what is read. Where that fails, they come
   * when they are read.
   */
  async #bringAhead(): Promise<void> {
    const { prefetch = 0 } = this.blob;
    const isAhead = (chunk: PlacedChunk) => !isZeros(chunk) && chunk.end <= prefetch;
    let last = this.#have.length - 1;
    while (last >= 0 && !isAhead(this.#table.chunk(last))) last--;
    try {
      if (last >= 0) this.#lookAgain(0, last);
      for (let i = 0; i <= last; i++) {
        if (this.#have[i] === 1 || this.#coming.has(i) || !isAhead(this.#table.chunk(i))) continue;
        this.#begin(i, last);
        await this.#coming.get(i);
      }
    } catch {
      // The next read of such a file tells why.
    }
  }

  /**
   * Whether a chunk is on disk and whole. What was noted of it is not enough: after a power cut the note may be there
   * without the bytes. Each process looks once.
   */
  #isHere(number: number): boolean {
    const chunk = this.#table.chunk(number);
    if (!isZeros(chunk)) {
      if (this.#have[number] !== 1) return false;
      const bytes = Buffer.allocUnsafe(chunk.size);
      const n = this.#withFile('data', 'r', (fd) => readAll(fd, bytes, chunk.place));
      if (n < chunk.size || !isIntact(bytes, chunk)) {
        this.#have[number] = 0;
        return false;
      }
    }
    this.#checked[number] = 1;
    return true;
  }

  /** Another process may have fetched some chunks since, of these and of those that would be fetched with them. */
  #lookAgain(first: number, last: number): void {
    const end = Math.min(this.#have.length, last + 4096);
    this.#withFile('have', 'r', (fd) => readSync(fd, this.#have, first, end - first, first));
  }

  /** Begins to fetch a chunk, and those after it that are worth fetching in one request. */
  #begin(first: number, wanted: number): void {
    const start = this.#table.chunk(first);
    this.#window = start.at === this.#next ? Math.min(this.#window * 2, mostWindow) : leastWindow;
    const chunks = [start];
    let { end } = start;
    for (let i = first + 1; i < this.#have.length; i++) {
      if (this.#have[i] === 1 || this.#coming.has(i)) break;
      const chunk = this.#table.chunk(i);
      const room = i <= wanted ? mostWindow : this.#window;
      if (
        isZeros(chunk) ||
        chunk.at < (chunks.at(-1) as PlacedChunk).at ||
        chunk.at - end > smallGap ||
        Math.max(chunk.end, end) - start.at > room
      )
        break;
      chunks.push(chunk);
      end = Math.max(chunk.end, end);
    }
    this.#next = end;
    const range = { offset: start.at, length: end - start.at };
    const bytes = this.#limit.run(() => this.#fetch(this.blob, range));
    for (let i = 0; i < chunks.length; ) {
      const { at, end } = chunks[i] as PlacedChunk;
      // Several chunks may be in one part.
      let to = i + 1;
      while (chunks[to]?.at === at && chunks[to]?.end === end) to++;
      const part = chunks.slice(i, to);
      const size = Math.max(...part.map((chunk) => chunk.inner + chunk.size));
      const plain = bytes.then((all) =>
        unpackPart(all.subarray(at - start.at, end - start.at), size, this.blob.compression),
      );
      for (const [j, chunk] of part.entries()) this.#await(first + i + j, chunk, plain);
      i += part.length;
    }
  }

  /** Keeps a chunk when its part comes. */
  #await(number: number, chunk: PlacedChunk, plain: Promise<Buffer>): void {
    const coming = plain
      .then((bytes) => this.#keep(number, chunk.place, chunkIn(bytes, chunk)))
      .finally(() => this.#coming.delete(number));
    // A chunk that nobody waits for is fetched again when somebody does.
    coming.catch(() => {});
    this.#coming.set(number, coming);
  }

  #keep(number: number, place: number, bytes: Buffer): void {
    this.#withFile('data', 'r+', (fd) => {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(fd, bytes, done, bytes.length - done, place + done);
      }
    });
    this.#have[number] = 1;
    this.#checked[number] = 1;
    this.#withFile('have', 'r+', (fd) => writeSync(fd, this.#have, number, 1, number));
  }

  #withFile<T>(name: string, flags: string, use: (fd: number) => T): T {
    const fd = openSync(join(this.#folder, name), flags);
    try {
      return use(fd);
    } finally {
      closeSync(fd);
    }
  }
}
