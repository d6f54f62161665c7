import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { errnoCode, fail, toDrydockError } from '../../errors/index.ts';
import { type Digest, digestOf, isDigest } from '../../oci/index.ts';
import { isDue, nextTurn } from '../../workers/index.ts';
import { fileBytes, whenAsked } from '../shared/blob-stream.ts';
import type { BlobInfo, Content, ContentWriter, WriterOptions } from '../store.ts';
import { mergeLabels, parseLabels, type Row } from './db.ts';
import { blobFolder, blobPath } from './layout.ts';
import { sweepDeadRuns } from './run.ts';
import { dropBlob, hold, type LocalParts, setRefs } from './shared.ts';
import { LocalWriter } from './writer.ts';

/** Largest blob that `bytes` reads whole. */
const smallBytes = 32 << 20;

/**
 * Up to so many bytes are read at once, where they are asked for: to have a thread read a document costs more than to
 * read it.
 */
const documentBytes = 64 << 10;

/**
 * Blobs as files named by their digests. They are not synced to the disk one by one: a killed process loses nothing,
 * and after a power cut, which may leave files short, the next opening finds a dead run, compares sizes and forgets
 * short files (`mend`), so that they are fetched or built again.
 */
export class LocalContent implements Content {
  readonly #shared: LocalParts;
  readonly #writers = new Set<LocalWriter>();
  #files = 0;

  constructor(shared: LocalParts) {
    this.#shared = shared;
    mkdirSync(join(shared.run.dir, 'new'), { mode: 0o700 });
  }

  async info(digest: Digest): Promise<BlobInfo | undefined> {
    const info = toInfo(this.#shared.db.get('SELECT * FROM blobs WHERE digest = ?', digest));
    return info !== undefined && this.#isWhole(digest, info.size) ? info : undefined;
  }

  #isWhole(digest: Digest, size: number): boolean {
    return statSync(blobPath(this.#shared.layout, digest), { throwIfNoEntry: false })?.size === size;
  }

  /**
   * Streams a blob. Throws `not-found`, `invalid` for a range outside of it, `corrupt` when its file is missing or
   * short.
   */
  async read(digest: Digest, range: { offset?: number; length?: number } = {}): Promise<Readable> {
    const { size } = this.#must(digest);
    const offset = range.offset ?? 0;
    const length = Math.min(range.length ?? size, size - offset);
    if (!Number.isSafeInteger(offset) || offset < 0 || !(length >= 0)) {
      throw fail(
        'invalid',
        'store',
        `no bytes ${offset} to ${offset + length} in ${digest} of ${size} bytes`,
      );
    }
    const path = this.#checkedPath(digest, size);
    if (length === 0) return Readable.from([]);
    const gone = (err: unknown) => (errnoCode(err) === 'ENOENT' ? damaged(digest, 'its file is gone') : err);
    return whenAsked(() => fileBytes(path, offset, length, gone));
  }

  async bytes(digest: Digest): Promise<Buffer> {
    const { size } = this.#must(digest);
    if (size > smallBytes) {
      throw fail('invalid', 'store', `${digest} has ${size} bytes: too many to read at once`);
    }
    const path = this.#checkedPath(digest, size);
    if (isDue()) await nextTurn();
    const bytes = size > documentBytes ? await readFile(path) : readFileSync(path);
    if (digestOf(bytes) !== digest) throw damaged(digest, 'its file holds other bytes');
    return bytes;
  }

  async localPath(digest: Digest): Promise<string | undefined> {
    const row = this.#shared.db.get('SELECT size FROM blobs WHERE digest = ?', digest);
    return row === undefined ? undefined : this.#checkedPath(digest, Number(row.size));
  }

  #must(digest: Digest): { size: number } {
    const row = this.#shared.db.get('SELECT size FROM blobs WHERE digest = ?', digest);
    if (row === undefined) throw missing(digest);
    return { size: Number(row.size) };
  }

  #checkedPath(digest: Digest, size: number): string {
    const path = blobPath(this.#shared.layout, digest);
    const have = statSync(path, { throwIfNoEntry: false })?.size;
    if (have === size) return path;
    throw damaged(
      digest,
      have === undefined ? 'its file is gone' : `its file has ${have} bytes, not ${size}`,
    );
  }

  async writer(ref: string, options: WriterOptions): Promise<ContentWriter> {
    const { expected } = options;
    const digest = expected?.digest;
    if (digest !== undefined && !isDigest(digest)) {
      throw fail('invalid', 'store', `invalid digest ${JSON.stringify(digest)}`);
    }
    let claim = this.#claim(ref, options);
    // The other writer may belong to a process that was killed.
    if (claim === 'busy' && sweepDeadRuns(this.#shared)) claim = this.#claim(ref, options);
    if (claim === 'exists') throw fail('exists', 'store', `the blob ${digest} is there already`);
    if (claim === 'busy') {
      throw fail('conflict', 'store', `${JSON.stringify(ref)} is being written already`, {
        hint: 'Wait for the other writer to end.',
      });
    }
    const writer = await LocalWriter.open(this.#shared, {
      ref,
      path: claim,
      options,
      publish: (blob, labels) => this.#publish(claim, blob, { lease: options.lease, labels }, ref),
      closed: () => this.#writers.delete(writer),
    });
    this.#writers.add(writer);
    return writer;
  }

  /** Takes over an ingest, or makes it; returns its file. */
  #claim(ref: string, { lease, expected }: WriterOptions): string | 'busy' | 'exists' {
    const { db, run, layout } = this.#shared;
    return db.write(() => {
      const digest = expected?.digest;
      const there =
        digest === undefined ? undefined : db.get('SELECT size FROM blobs WHERE digest = ?', digest);
      if (digest !== undefined && there !== undefined && this.#isWhole(digest, Number(there.size))) {
        hold(db, lease, 'blob', digest);
        return 'exists';
      }
      const row = db.get('SELECT file, expected, run FROM ingests WHERE ref = ?', ref);
      if (row !== undefined && row.run !== null) return 'busy';
      const file = row === undefined ? randomBytes(8).toString('hex') : String(row.file);
      const path = join(layout.ingest, file);
      if (row === undefined || !existsSync(path)) writeFileSync(path, '', { mode: 0o600 });
      else if (row.expected !== (digest ?? null)) truncateSync(path);
      db.run(
        'INSERT OR REPLACE INTO ingests (ref, file, expected, run, updated_at) VALUES (?, ?, ?, ?, ?)',
        ref,
        file,
        digest ?? null,
        run.id,
        Date.now(),
      );
      return path;
    });
  }

  async put(data: Uint8Array, options: { lease: string; labels?: Record<string, string> }): Promise<Digest> {
    const digest = digestOf(data);
    const path = await this.ingestPath();
    try {
      if (!this.#addAgain(digest, data, options)) {
        writeFileSync(path, data, { mode: 0o600, flag: 'wx' });
        this.#publish(path, { digest, size: data.byteLength }, options);
      }
      return digest;
    } catch (err) {
      this.#discard(path);
      throw toDrydockError(err, 'store');
    }
  }

  #addAgain(
    digest: Digest,
    data: Uint8Array,
    options: { lease: string; labels?: Record<string, string> },
  ): boolean {
    const { db, layout } = this.#shared;
    if (db.get('SELECT 1 FROM blobs WHERE digest = ?', digest) === undefined) return false;
    return db.write(() => {
      const row = db.get('SELECT size, labels FROM blobs WHERE digest = ?', digest);
      if (row === undefined || !this.#isWhole(digest, data.byteLength)) return false;
      if (!readFileSync(blobPath(layout, digest)).equals(data)) {
        // The next blob that is published takes its place.
        rmSync(blobPath(layout, digest), { force: true });
        return false;
      }
      this.#again(digest, row, options);
      return true;
    });
  }

  async ingestPath(): Promise<string> {
    return join(this.#shared.run.dir, 'new', String(++this.#files));
  }

  async adopt(
    path: string,
    blob: { digest: Digest; size: number },
    options: { lease: string; labels?: Record<string, string> },
  ): Promise<void> {
    const have = statSync(path, { throwIfNoEntry: false })?.size;
    if (!isDigest(blob.digest) || have !== blob.size) {
      this.#discard(path);
      throw fail(
        'corrupt',
        'store',
        `cannot take ${path} as ${blob.digest}: ${have} bytes, not ${blob.size}`,
      );
    }
    try {
      this.#publish(path, blob, options);
    } catch (err) {
      this.#discard(path);
      throw err;
    }
  }

  /** Moves a finished file into place and writes its row, as one step. */
  #publish(
    path: string,
    blob: { digest: Digest; size: number },
    options: { lease: string; labels?: Record<string, string> },
    ingest?: string,
  ): void {
    const { db, layout } = this.#shared;
    const target = blobPath(layout, blob.digest);
    let moved = false;
    const move = () => {
      const row = db.get('SELECT size, labels FROM blobs WHERE digest = ?', blob.digest);
      const there = row !== undefined && this.#isWhole(blob.digest, blob.size);
      if (!there) {
        mkdirSync(blobFolder(layout, blob.digest), { recursive: true, mode: 0o700 });
        renameSync(path, target);
        moved = true;
      }
      if (row !== undefined) this.#again(blob.digest, row, options);
      else {
        const labels = options.labels ?? {};
        db.run(
          'INSERT INTO blobs (digest, size, labels, created_at) VALUES (?, ?, ?, ?)',
          blob.digest,
          blob.size,
          JSON.stringify(labels),
          Date.now(),
        );
        setRefs(this.#shared, 'blob', blob.digest, labels);
        hold(db, options.lease, 'blob', blob.digest);
      }
      if (ingest !== undefined) db.run('DELETE FROM ingests WHERE ref = ?', ingest);
      return there;
    };
    try {
      if (db.write(move)) this.#discard(path);
    } catch (err) {
      if (moved) this.#clearOrphan(blob.digest);
      throw err;
    }
  }

  #again(digest: Digest, row: Row, options: { lease: string; labels?: Record<string, string> }): void {
    hold(this.#shared.db, options.lease, 'blob', digest);
    if (options.labels === undefined || Object.keys(options.labels).length === 0) return;
    this.#writeLabels(digest, { ...parseLabels(row.labels), ...options.labels });
  }

  #writeLabels(digest: Digest, labels: Record<string, string>): void {
    this.#shared.db.run('UPDATE blobs SET labels = ? WHERE digest = ?', JSON.stringify(labels), digest);
    setRefs(this.#shared, 'blob', digest, labels);
  }

  #discard(path: string): void {
    this.#shared.trash.take(path);
    this.#shared.trash.empty();
  }

  async setLabels(digest: Digest, labels: Record<string, string | undefined>): Promise<void> {
    const { db } = this.#shared;
    db.write(() => {
      const row = db.get('SELECT labels FROM blobs WHERE digest = ?', digest);
      if (row === undefined) throw missing(digest);
      this.#writeLabels(digest, mergeLabels(parseLabels(row.labels), labels));
    });
  }

  async list(): Promise<BlobInfo[]> {
    return this.#shared.db
      .all('SELECT * FROM blobs ORDER BY created_at, digest')
      .map((row) => toInfo(row))
      .filter((info) => info !== undefined);
  }

  async delete(digest: Digest): Promise<void> {
    const { db } = this.#shared;
    this.#must(digest);
    db.free(() => dropBlob(db, digest));
    this.#clearOrphan(digest);
  }

  /** Removes a blob's file unless it has a row: another process may have stored the same blob anew since. */
  #clearOrphan(digest: Digest): void {
    const { db, layout, trash } = this.#shared;
    db.write(() => {
      const row = db.get('SELECT 1 FROM blobs WHERE digest = ?', digest);
      if (row === undefined) trash.take(blobPath(layout, digest));
    });
    trash.empty();
  }

  /** Ends the writers that are still open and removes their bytes. */
  async close(): Promise<void> {
    for (const writer of [...this.#writers]) await writer.abort();
  }
}

function missing(digest: Digest) {
  return fail('not-found', 'store', `there is no blob ${digest}`);
}

function damaged(digest: Digest, why: string) {
  return fail('corrupt', 'store', `the blob ${digest} is damaged: ${why}`, {
    hint: 'Run `drydock doctor --verify`, then pull or build it again.',
  });
}

function toInfo(row: Row | undefined): BlobInfo | undefined {
  if (row === undefined) return undefined;
  return {
    digest: String(row.digest) as Digest,
    size: Number(row.size),
    labels: parseLabels(row.labels),
    createdAt: Number(row.created_at),
  };
}
