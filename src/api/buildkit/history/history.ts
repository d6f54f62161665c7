/**
 * The builds that ended, kept across restarts: records with their progress, until there are too many or they are too
 * old.
 */
import type { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { gunzip, gzip, gzipSync } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Reach, reaches } from '../../../auth/index.ts';
import type { Masks } from '../../../errors/index.ts';
import {
  type BuildHistoryRecord,
  BuildHistoryRecordSchema,
  type SolveRequest,
} from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { StatusResponse } from '../../../pb/moby/buildkit/v1/status_pb.js';
import { type DatabaseName, openDatabase, transaction } from '../../../store/index.ts';
import { isDue, nextTurn } from '../../../workers/index.ts';
import type { BuildLog } from '../jobs/build-log.ts';
import { masksOf } from './masked.ts';
import { beginRecord, completeRecord, type RecordedEnd } from './record.ts';
import { decodeStatus } from './status-blob.ts';

const gzipped = promisify<Uint8Array, Buffer>(gzip);
/** The most bytes that are compressed at once: a thread takes longer to hear of them. */
const little = 64 << 10;

function pack(data: Uint8Array): Buffer | Promise<Buffer> {
  return data.length <= little ? gzipSync(data) : gzipped(data);
}

const gunzipped = promisify<Uint8Array, Buffer>(gunzip);

/** How many rows are read at one time. */
const pageRows = 500;

export interface HistoryEvent {
  type: 'started' | 'complete' | 'deleted';
  /** The owner of the build (`identityKey`). */
  owner: string;
  record: BuildHistoryRecord;
}

interface HistoryLimits {
  /** The most records of one identity; default 50, as in BuildKit. */
  maxEntries?: number;
  /** The greatest age of a record, in ms; default two days. */
  maxAge?: number;
}

const schema = [
  `CREATE TABLE builds (
     ref TEXT PRIMARY KEY,
     completed_at REAL NOT NULL,
     pinned INTEGER NOT NULL DEFAULT 0,
     record BLOB NOT NULL,
     status BLOB NOT NULL
   ) STRICT;
   CREATE INDEX builds_by_age ON builds (completed_at);`,
  `DELETE FROM builds;
   ALTER TABLE builds DROP COLUMN status;
   CREATE TABLE blobs (
     ref TEXT NOT NULL REFERENCES builds (ref) ON DELETE CASCADE,
     digest TEXT NOT NULL,
     size INTEGER NOT NULL,
     created_at REAL NOT NULL,
     data BLOB NOT NULL,
     PRIMARY KEY (ref, digest)
   ) STRICT;
   CREATE INDEX blobs_by_digest ON blobs (digest);`,
  // Records from before had no owner, and may hold passwords: they are overwritten, not only forgotten.
  `PRAGMA secure_delete = ON;
   DELETE FROM blobs;
   DELETE FROM builds;
   DROP TABLE blobs;
   DROP TABLE builds;
   CREATE TABLE builds (
     id INTEGER PRIMARY KEY,
     owner TEXT NOT NULL,
     ref TEXT NOT NULL,
     completed_at REAL NOT NULL,
     pinned INTEGER NOT NULL DEFAULT 0,
     record BLOB NOT NULL,
     UNIQUE (owner, ref)
   ) STRICT;
   CREATE INDEX builds_by_age ON builds (completed_at);
   CREATE TABLE blobs (
     build INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
     digest TEXT NOT NULL,
     size INTEGER NOT NULL,
     created_at REAL NOT NULL,
     data BLOB NOT NULL,
     PRIMARY KEY (build, digest)
   ) STRICT;
   CREATE INDEX blobs_by_digest ON blobs (digest);`,
];

/** The condition for builds within reach: `?1` is the owner who asks, `?2` whether all builds are within reach. */
const within = '(owner = ?1 OR ?2)';

/** A blob of a record: its progress, trace or error, or a document of an image that the build made. */
interface HistoryBlob {
  digest: string;
  size: number;
  /** ms since the epoch */
  createdAt: number;
}

/** A running build on its way into the history. */
interface Recording {
  /**
   * Has the record written, in place of an earlier build's of the same owner and reference. The build's client need not
   * wait for it: whoever asks for records does (`settled`).
   */
  completed(log: BuildLog, end: RecordedEnd): void;
}

interface Active {
  owner: string;
  record: BuildHistoryRecord;
}

/** The history. Each question says whose records may be seen; others are as if they were not there. */
export class History {
  readonly #db: DatabaseSync;
  readonly #limits: Required<HistoryLimits>;
  readonly #active = new Set<Active>();
  readonly #writing = new Set<Promise<void>>();
  readonly #listeners = new Set<(event: HistoryEvent) => void>();
  readonly #name: DatabaseName;
  #closed = false;

  constructor(file: string, limits: HistoryLimits = {}) {
    this.#name = { hop: 'store', name: 'the build history', file };
    this.#db = openDatabase(this.#name, schema);
    this.#db.exec('PRAGMA foreign_keys = ON');
    this.#limits = {
      maxEntries: limits.maxEntries ?? 50,
      maxAge: limits.maxAge ?? 48 * 3600 * 1000,
    };
    this.#trim();
  }

  /** Waits for the records that are being written, and closes the database. */
  async close(): Promise<void> {
    await this.settled();
    if (this.#closed) return;
    this.#closed = true;
    this.#db.close();
  }

  /** Resolves when the records of all builds that have ended by now are written. */
  async settled(): Promise<void> {
    if (this.#writing.size > 0) await Promise.all(this.#writing);
  }

  /** Begins the record of a build. Passwords in the request are nowhere in it. */
  started(owner: string, ref: string, request: SolveRequest): Recording {
    const masks = masksOf(request);
    const record = beginRecord(ref, request, masks);
    const active = { owner, record };
    this.#active.add(active);
    this.#tell({ type: 'started', owner, record });
    return {
      completed: (log, end) => {
        // What cannot be recorded is no longer under way either.
        const forgotten = () => void this.#active.delete(active);
        const writing = this.#completed(active, masks, log, end).catch(forgotten);
        this.#writing.add(writing);
        void writing.then(() => this.#writing.delete(writing));
      },
    };
  }

  async #completed(active: Active, masks: Masks, log: BuildLog, end: RecordedEnd): Promise<void> {
    const { owner, record } = active;
    const blobs = await completeRecord(record, masks, log, end);
    const packed = await Promise.all(blobs.map(({ data }) => pack(data)));
    this.#active.delete(active);
    if (this.#closed) return;
    try {
      transaction(this.#name, this.#db, () => {
        this.#db.prepare('DELETE FROM builds WHERE owner = ? AND ref = ?').run(owner, record.Ref);
        const { lastInsertRowid: build } = this.#db
          .prepare('INSERT INTO builds (owner, ref, completed_at, record) VALUES (?, ?, ?, ?)')
          .run(owner, record.Ref, Date.now(), toBinary(BuildHistoryRecordSchema, record));
        const insert = this.#db.prepare(
          'INSERT OR IGNORE INTO blobs (build, digest, size, created_at, data) VALUES (?, ?, ?, ?, ?)',
        );
        for (const [i, { descriptor, data }] of blobs.entries()) {
          insert.run(build, descriptor.digest, data.length, Date.now(), packed[i] as Buffer);
        }
      });
      this.#trim();
    } catch {
      // How a build ended does not hang on its being remembered: on a full disk it is not.
    }
    this.#tell({ type: 'complete', owner, record });
  }

  active(reach: Reach): BuildHistoryRecord[] {
    return [...this.#active].filter(({ owner }) => reaches(reach, owner)).map(({ record }) => record);
  }

  /** The ended builds, newest first. Each is read when it is asked for, for one may be as large as a request. */
  async *list({ owner, all }: Reach): AsyncGenerator<BuildHistoryRecord> {
    const ids = this.#db
      .prepare(`SELECT id FROM builds WHERE ${within} ORDER BY completed_at DESC, ref`)
      .all(owner, Number(all));
    const read = this.#db.prepare('SELECT record FROM builds WHERE id = ?');
    for (const { id } of ids) {
      if (isDue()) await nextTurn();
      if (this.#closed) return;
      const row = read.get(id as number);
      if (row !== undefined) yield fromBinary(BuildHistoryRecordSchema, row.record as Uint8Array);
    }
  }

  /** The progress of an ended build; undefined when it is not known. */
  async statusOf(reach: Reach, ref: string): Promise<Iterable<StatusResponse> | undefined> {
    const logs = this.#find(reach, ref)?.record.logs;
    const bytes = logs && (await this.readBlob(reach, logs.digest));
    return bytes && decodeStatus(bytes);
  }

  /** The build of a reference; one's own comes before another's. */
  #find(
    { owner, all }: Reach,
    ref: string,
  ): { id: number; owner: string; record: BuildHistoryRecord } | undefined {
    const row = this.#db
      .prepare(
        `SELECT id, owner, record FROM builds WHERE ${within} AND ref = ?3
           ORDER BY owner = ?1 DESC, completed_at DESC LIMIT 1`,
      )
      .get(owner, Number(all), ref);
    return (
      row && {
        id: Number(row.id),
        owner: String(row.owner),
        record: fromBinary(BuildHistoryRecordSchema, row.record as Uint8Array),
      }
    );
  }

  /** The blob of this digest; undefined when no record has it. */
  blob(reach: Reach, digest: string): HistoryBlob | undefined {
    return this.#blobs(reach, 'digest = ?3', digest, 1)[0];
  }

  /** All blobs of records, by digest. */
  async *blobs(reach: Reach): AsyncGenerator<HistoryBlob> {
    for (let last = ''; ; ) {
      if (this.#closed) return;
      const page = this.#blobs(reach, 'digest > ?3', last, pageRows);
      yield* page;
      if (page.length < pageRows) return;
      last = page.at(-1)?.digest ?? '';
      if (isDue()) await nextTurn();
    }
  }

  #blobs({ owner, all }: Reach, which: string, digest: string, most: number): HistoryBlob[] {
    const rows = this.#db
      .prepare(
        `SELECT digest, size, MIN(created_at) AS created_at FROM blobs JOIN builds ON builds.id = blobs.build
           WHERE ${within} AND ${which} GROUP BY digest ORDER BY digest LIMIT ?4`,
      )
      .all(owner, Number(all), digest, most);
    return rows.map((row) => ({
      digest: String(row.digest),
      size: Number(row.size),
      createdAt: Number(row.created_at),
    }));
  }

  async readBlob({ owner, all }: Reach, digest: string): Promise<Buffer | undefined> {
    const row = this.#db
      .prepare(
        `SELECT data FROM blobs JOIN builds ON builds.id = blobs.build WHERE ${within} AND digest = ?3 LIMIT 1`,
      )
      .get(owner, Number(all), digest);
    return row && gunzipped(row.data as Uint8Array);
  }

  /** Keeps a build beyond all limits, or ends that; false when the build is not known. */
  pin(reach: Reach, ref: string, pinned: boolean): boolean {
    const found = this.#find(reach, ref);
    if (found === undefined) return false;
    const { id, owner, record } = found;
    record.pinned = pinned;
    record.Generation++;
    this.#db
      .prepare('UPDATE builds SET pinned = ?, record = ? WHERE id = ?')
      .run(pinned ? 1 : 0, toBinary(BuildHistoryRecordSchema, record), id);
    this.#tell({ type: 'complete', owner, record });
    return true;
  }

  /** Removes a record; false when it is not known. */
  delete(reach: Reach, ref: string): boolean {
    const found = this.#find(reach, ref);
    if (found === undefined) return false;
    this.#db.prepare('DELETE FROM builds WHERE id = ?').run(found.id);
    const record = create(BuildHistoryRecordSchema, { Ref: ref });
    this.#tell({ type: 'deleted', owner: found.owner, record });
    return true;
  }

  has(reach: Reach, ref: string): boolean {
    return this.active(reach).some(({ Ref }) => Ref === ref) || this.#find(reach, ref) !== undefined;
  }

  /** Calls back for each event within reach from now on. Returns a function that ends this. */
  listen(reach: Reach, listener: (event: HistoryEvent) => void): () => void {
    const told = (event: HistoryEvent) => {
      if (reaches(reach, event.owner)) listener(event);
    };
    this.#listeners.add(told);
    return () => this.#listeners.delete(told);
  }

  #tell(event: HistoryEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  /**
   * Removes the records beyond the limits. Each owner has a number of records, so that nobody's builds push out
   * another's.
   */
  #trim(): void {
    const doomed = this.#db
      .prepare(
        `SELECT owner, ref FROM
           (SELECT owner, ref, completed_at, row_number() OVER (PARTITION BY owner ORDER BY completed_at DESC) AS place
              FROM builds WHERE pinned = 0)
           WHERE completed_at < ? OR place > ?`,
      )
      .all(Date.now() - this.#limits.maxAge, this.#limits.maxEntries);
    for (const { owner, ref } of doomed) this.delete({ owner: String(owner), all: false }, String(ref));
  }
}
