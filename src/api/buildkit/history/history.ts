/**
 * The builds that ended, kept across restarts: records with their progress, until there are too many or they are too
 * old.
 */
import type { DatabaseSync } from 'node:sqlite';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Reach, reaches } from '../../../auth/index.ts';
import type { Masks } from '../../../errors/index.ts';
import {
  type BuildHistoryRecord,
  BuildHistoryRecordSchema,
  type SolveRequest,
} from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { StatusResponse } from '../../../pb/moby/buildkit/v1/status_pb.js';
import { type BuildDetails, keptDetails } from '../../../records/index.ts';
import { type DatabaseName, openDatabase, transaction } from '../../../store/index.ts';
import { isDue, nextTurn } from '../../../workers/index.ts';
import type { BuildLog } from '../../shared/build-log.ts';
import { masksOf } from './masked.ts';
import { pack, unpack } from './packed.ts';
import { beginRecord, completeRecord, type RecordedEnd } from './record.ts';
import { schema } from './schema.ts';
import { decodeStatusParts } from './status-blob.ts';

/** How long a record waits when its build has ended, in ms. Its making takes as long as the rest of a cached build. */
const restMs = 50;

/** How often builds without a daemon are looked for while somebody listens, in ms. */
const watchMs = 1000;

/** How many rows are read at one time. */
const pageRows = 500;

export interface HistoryEvent {
  type: 'started' | 'complete' | 'deleted';
  /** The owner of the build (`identityKey`). */
  owner: string;
  record: BuildHistoryRecord;
}

export interface HistoryLimits {
  /** The most records of one identity; default 50, as in BuildKit. */
  maxEntries?: number;
  /** The greatest age of a record, in ms; default two days. */
  maxAge?: number;
}

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
export interface Recording {
  /**
   * Has the record written, in place of an earlier build's of the same owner and reference. The build's client need not
   * wait for it: whoever asks for records does (`settled`). Never rejects. True: it could be written later, for the disk
   * takes nothing now, or the history is closed.
   */
  completed(log: BuildLog, end: RecordedEnd): Promise<boolean>;
  /** The build is followed no longer: another process has its record, or nobody has. */
  elsewhere(): void;
}

/** Builds that were noted elsewhere, and are not in the history yet. */
export interface NotedBuilds {
  /** Writes the records of those that have ended, and begins those of the ones that run. */
  takeIn(history: History): Promise<void>;
  /** Lets those go that run. */
  close(): void;
}

/** A record with the owner of its build (`identityKey`). */
export interface OwnedRecord {
  readonly owner: string;
  readonly record: BuildHistoryRecord;
  /** Whether it is a running build of another process. */
  readonly elsewhere?: boolean;
}

/** The history. Each question says whose records may be seen; others are as if they were not there. */
export class History {
  readonly #db: DatabaseSync;
  readonly #limits: Required<HistoryLimits>;
  readonly #active = new Set<OwnedRecord>();
  readonly #writing = new Set<Promise<unknown>>();
  /** The writing of the build that ended last. Records are written in the order in which their builds ended. */
  #last: Promise<unknown> = Promise.resolve();
  /** Lets records be written that wait for their builds' clients to get their answers. */
  readonly #resting = new Set<() => void>();
  readonly #listeners = new Set<(event: HistoryEvent) => void>();
  readonly #name: DatabaseName;
  readonly #noted: NotedBuilds | undefined;
  #watching: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * `limits`: a daemon's, which are kept for commands that open the history of its root; undefined: those that were kept.
   * `noted`: what was noted of builds without a daemon, which is taken in before records are asked for.
   */
  constructor(file: string, limits?: HistoryLimits, noted?: NotedBuilds) {
    this.#noted = noted;
    this.#name = { hop: 'store', name: 'the build history', file };
    this.#db = openDatabase(this.#name, schema);
    this.#db.exec('PRAGMA foreign_keys = ON');
    this.#limits = limits === undefined ? this.#savedLimits() : this.#saveLimits(limits);
    this.#trim();
  }

  #saveLimits({ maxEntries, maxAge }: HistoryLimits): Required<HistoryLimits> {
    const limits = { maxEntries: maxEntries ?? 50, maxAge: maxAge ?? 48 * 3600 * 1000 };
    this.#db
      .prepare('INSERT OR REPLACE INTO limits (id, max_entries, max_age) VALUES (1, ?, ?)')
      .run(limits.maxEntries, limits.maxAge);
    return limits;
  }

  #savedLimits(): Required<HistoryLimits> {
    const row = this.#db.prepare('SELECT max_entries, max_age FROM limits').get();
    if (row === undefined) return this.#saveLimits({});
    return { maxEntries: Number(row.max_entries), maxAge: Number(row.max_age) };
  }

  /** Waits for the records that are being written, and closes the database. */
  async close(): Promise<void> {
    await this.settled();
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#watching);
    this.#noted?.close();
    this.#db.close();
  }

  /** Resolves when the records of all builds that have ended by now are written. */
  async settled(): Promise<void> {
    if (!this.#closed) await this.#noted?.takeIn(this);
    for (const go of this.#resting) go();
    if (this.#writing.size > 0) await Promise.all(this.#writing);
  }

  /**
   * Begins the record of a build. Passwords in the request are nowhere in it. `at`: when it began, in ms since the epoch,
   * of a build of another process.
   */
  started(owner: string, ref: string, request: SolveRequest, at?: number): Recording {
    const masks = masksOf(request);
    const record = beginRecord(ref, request, masks, at ?? Date.now());
    const active = { owner, record, elsewhere: at !== undefined };
    this.#active.add(active);
    this.#tell({ type: 'started', owner, record });
    return {
      completed: (log, end) => {
        // What cannot be recorded is no longer under way either.
        const forgotten = () => {
          if (this.#active.delete(active)) this.#tell({ type: 'deleted', owner, record });
          return false;
        };
        const before = this.#last;
        const read = log.keep();
        // A build that is over for long has no client that waits.
        const writing = (end.at === undefined ? this.#later() : Promise.resolve())
          .then(() => before)
          .then(() => this.#completed(active, masks, log, end))
          .catch(forgotten)
          .finally(read);
        this.#last = writing;
        this.#writing.add(writing);
        return writing.finally(() => this.#writing.delete(writing));
      },
      elsewhere: () => {
        this.#active.delete(active);
        if (this.#closed) return;
        const found = this.find({ owner, all: false }, ref);
        if (found !== undefined) return this.#tell({ type: 'complete', ...found });
        this.#tell({ type: 'deleted', owner, record: create(BuildHistoryRecordSchema, { Ref: ref }) });
      },
    };
  }

  /** Waits a little, so that the build's client gets its answer first; not when somebody waits for the records. */
  #later(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, restMs);
    this.#resting.add(resolve);
    return promise.then(() => {
      clearTimeout(timer);
      this.#resting.delete(resolve);
    });
  }

  /** Writes a record, as far as that is possible now (see `Recording`). */
  async #completed(active: OwnedRecord, masks: Masks, log: BuildLog, end: RecordedEnd): Promise<boolean> {
    const { owner, record } = active;
    const blobs = await completeRecord(record, masks, log, end);
    const details = pack(Buffer.from(JSON.stringify(end.details ?? keptDetails(log.details, masks))));
    const [packedDetails, ...packed] = await Promise.all([details, ...blobs.map((blob) => blob.packed)]);
    this.#active.delete(active);
    if (this.#closed) return true;
    let later = false;
    try {
      transaction(this.#name, this.#db, () => {
        this.#db.prepare('DELETE FROM builds WHERE owner = ? AND ref = ?').run(owner, record.Ref);
        const { lastInsertRowid: build } = this.#db
          .prepare('INSERT INTO builds (owner, ref, completed_at, record, details) VALUES (?, ?, ?, ?, ?)')
          .run(
            ...[owner, record.Ref, end.at ?? Date.now(), toBinary(BuildHistoryRecordSchema, record)],
            packedDetails as Buffer,
          );
        const insert = this.#db.prepare(
          'INSERT OR IGNORE INTO blobs (build, digest, size, created_at, data) VALUES (?, ?, ?, ?, ?)',
        );
        for (const [i, { descriptor }] of blobs.entries()) {
          insert.run(build, descriptor.digest, Number(descriptor.size), Date.now(), packed[i] as Buffer);
        }
      });
      this.#trim();
    } catch {
      // How a build ended does not hang on its being remembered: on a full disk it is not.
      later = true;
    }
    this.#tell({ type: 'complete', owner, record });
    return later;
  }

  active(reach: Reach): BuildHistoryRecord[] {
    return this.activeOf(reach).map(({ record }) => record);
  }

  /** The running builds with their owners. */
  activeOf(reach: Reach): OwnedRecord[] {
    return [...this.#active].filter(({ owner }) => reaches(reach, owner));
  }

  /** Whether a build of this owner and reference runs. */
  isActive(owner: string, ref: string): boolean {
    return [...this.#active].some((each) => each.owner === owner && each.record.Ref === ref);
  }

  /** The ended builds, newest first. Each is read when it is asked for, for one may be as large as a request. */
  async *list(reach: Reach): AsyncGenerator<BuildHistoryRecord> {
    for await (const { record } of this.listOf(reach)) yield record;
  }

  /** The ended builds with their owners, newest first. */
  async *listOf({ owner, all }: Reach): AsyncGenerator<OwnedRecord> {
    const ids = this.#db
      .prepare(`SELECT id FROM builds WHERE ${within} ORDER BY completed_at DESC, id DESC`)
      .all(owner, Number(all));
    const read = this.#db.prepare('SELECT owner, record FROM builds WHERE id = ?');
    for (const { id } of ids) {
      if (isDue()) await nextTurn();
      if (this.#closed) return;
      const row = read.get(id as number);
      if (row === undefined) continue;
      const record = fromBinary(BuildHistoryRecordSchema, row.record as Uint8Array);
      yield { owner: String(row.owner), record };
    }
  }

  /** An ended build; undefined when it is not known. */
  find(reach: Reach, ref: string): OwnedRecord | undefined {
    return this.#find(reach, ref);
  }

  /** The files and the steps' use of an ended build; undefined when they are not known. */
  async detailsOf(reach: Reach, ref: string): Promise<BuildDetails | undefined> {
    const found = this.#find(reach, ref);
    const row = found && this.#db.prepare('SELECT details FROM builds WHERE id = ?').get(found.id);
    if (!row?.details) return undefined;
    const parts = await Array.fromAsync(unpack(row.details as Uint8Array));
    return JSON.parse(Buffer.concat(parts).toString('utf8')) as BuildDetails;
  }

  /** A blob of records as a whole; undefined when no record has it. */
  async wholeBlob(reach: Reach, digest: string): Promise<Buffer | undefined> {
    const parts = this.readBlob(reach, digest);
    return parts && Buffer.concat(await Array.fromAsync(parts));
  }

  /** The progress of an ended build; undefined when it is not known. */
  async statusOf(reach: Reach, ref: string): Promise<AsyncIterable<StatusResponse> | undefined> {
    const logs = this.#find(reach, ref)?.record.logs;
    const parts = logs && this.readBlob(reach, logs.digest);
    return parts && decodeStatusParts(parts);
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

  readBlob({ owner, all }: Reach, digest: string): AsyncIterable<Buffer> | undefined {
    const row = this.#db
      .prepare(
        `SELECT data FROM blobs JOIN builds ON builds.id = blobs.build WHERE ${within} AND digest = ?3 LIMIT 1`,
      )
      .get(owner, Number(all), digest);
    return row && unpack(row.data as Uint8Array);
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
    // Builds without a daemon begin unheard.
    this.#watching ??= setInterval(() => void this.#noted?.takeIn(this).catch(() => {}), watchMs).unref();
    return () => {
      this.#listeners.delete(told);
      if (this.#listeners.size > 0) return;
      clearInterval(this.#watching);
      this.#watching = undefined;
    };
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
