import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { fail, toDrydockError } from '../../errors/index.ts';
import type { Digest } from '../../oci/index.ts';
import { notePassed } from '../../workers/index.ts';
import type { ContentWriter, WriterOptions } from '../store.ts';
import type { LocalParts } from './shared.ts';

interface Ingest {
  ref: string;
  path: string;
  options: WriterOptions;
  /** Makes the finished file a blob. */
  publish(blob: { digest: Digest; size: number }, labels?: Record<string, string>): void;
  closed(): void;
}

/** One open ingest: it appends to its file and hashes the bytes on the way. */
export class LocalWriter implements ContentWriter {
  readonly offset: number;
  readonly #shared: LocalParts;
  readonly #ingest: Ingest;
  readonly #file: FileHandle;
  readonly #hash: Hash;
  #size: number;
  /** Writes run one after the other, even when the caller does not wait. */
  #queue: Promise<void> = Promise.resolve();
  #state: 'open' | 'failed' | 'closed' = 'open';

  private constructor(shared: LocalParts, ingest: Ingest, file: FileHandle, hash: Hash, size: number) {
    this.#shared = shared;
    this.#ingest = ingest;
    this.#file = file;
    this.#hash = hash;
    this.#size = size;
    this.offset = size;
  }

  /** Opens an ingest that was claimed, continuing after the bytes that are there. */
  static async open(shared: LocalParts, ingest: Ingest): Promise<LocalWriter> {
    let file: FileHandle | undefined;
    try {
      file = await open(ingest.path, 'r+');
      let { size } = await file.stat();
      const { resume, expected } = ingest.options;
      if (size > (resume === true ? (expected?.size ?? size) : 0)) {
        await file.truncate(0);
        size = 0;
      }
      const hash = createHash('sha256');
      if (size > 0) {
        for await (const chunk of createReadStream(ingest.path, { end: size - 1, highWaterMark: 1 << 20 })) {
          hash.update(chunk as Buffer);
        }
      }
      return new LocalWriter(shared, ingest, file, hash, size);
    } catch (err) {
      await file?.close();
      dropIngest(shared, ingest);
      throw toDrydockError(err, 'store');
    }
  }

  write(chunk: Uint8Array): Promise<void> {
    const done = this.#queue.then(() => this.#append(chunk));
    this.#queue = done.catch(() => {});
    return done;
  }

  async #append(chunk: Uint8Array): Promise<void> {
    if (this.#state !== 'open') {
      throw fail('conflict', 'store', `the writer of ${this.#ingest.ref} is ${this.#state}`);
    }
    const { expected } = this.#ingest.options;
    const at = this.#size;
    this.#size += chunk.byteLength;
    if (expected?.size !== undefined && this.#size > expected.size) {
      this.#state = 'failed';
      throw fail(
        'corrupt',
        'store',
        `${what(expected.digest, this.#ingest)} has more than ${expected.size} bytes`,
      );
    }
    try {
      const written = this.#writeAll(chunk, at);
      this.#hash.update(chunk);
      await written;
      notePassed(chunk.byteLength);
    } catch (err) {
      this.#state = 'failed';
      throw toDrydockError(err, 'store');
    }
  }

  async #writeAll(chunk: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < chunk.byteLength; ) {
      const { bytesWritten } = await this.#file.write(chunk, done, chunk.byteLength - done, at + done);
      done += bytesWritten;
    }
  }

  async commit(labels?: Record<string, string>): Promise<{ digest: Digest; size: number }> {
    await this.#queue;
    if (this.#state !== 'open') {
      throw fail('conflict', 'store', `the writer of ${this.#ingest.ref} is ${this.#state}`);
    }
    const { expected } = this.#ingest.options;
    const size = this.#size;
    const digest: Digest = `sha256:${this.#hash.digest('hex')}`;
    this.#state = 'failed';
    try {
      if (expected?.size !== undefined && size !== expected.size) {
        const name = what(expected.digest, this.#ingest);
        throw fail('corrupt', 'store', `${name} ended after ${size} of ${expected.size} bytes`);
      }
      if (expected?.digest !== undefined && digest !== expected.digest) {
        throw fail('corrupt', 'store', `the bytes of ${expected.digest} have the digest ${digest}`, {
          hint: 'They were damaged on the way or at their source; try again.',
        });
      }
      await this.#file.close();
      this.#ingest.publish({ digest, size }, labels);
    } catch (err) {
      await this.abort();
      throw err;
    }
    this.#state = 'closed';
    this.#ingest.closed();
    return { digest, size };
  }

  async abort(keep = false): Promise<void> {
    await this.#queue;
    if (this.#state === 'closed') return;
    const { db, run } = this.#shared;
    const { ref } = this.#ingest;
    const sound = this.#state === 'open';
    this.#state = 'closed';
    this.#ingest.closed();
    try {
      if (keep && sound && this.#size > 0) {
        const now = Date.now();
        db.run('UPDATE ingests SET run = NULL, updated_at = ? WHERE ref = ? AND run = ?', now, ref, run.id);
      } else {
        // The bytes go first: a full disk may not even have room to note that they are gone.
        await this.#file.truncate(0).catch(() => {});
        dropIngest(this.#shared, this.#ingest);
      }
    } finally {
      await this.#file.close().catch(() => {});
    }
  }
}

/** Forgets an ingest of this process and removes its bytes. */
function dropIngest({ db, run, trash }: LocalParts, ingest: Ingest): void {
  db.free(() => {
    const { changes } = db.run('DELETE FROM ingests WHERE ref = ? AND run = ?', ingest.ref, run.id);
    if (changes > 0) trash.take(ingest.path);
  });
  trash.empty();
}

function what(digest: Digest | undefined, ingest: Ingest): string {
  return digest ?? JSON.stringify(ingest.ref);
}
