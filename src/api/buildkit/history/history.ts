/** Builds that ran, kept across restarts: records with their progress, until they are too many or too old. */
import type { DatabaseSync } from 'node:sqlite';
import { gunzipSync, gzipSync } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { digestOf } from '../../../oci/digest.ts';
import type { Descriptor as OciDescriptor } from '../../../oci/types.ts';
import { type Status, StatusSchema } from '../../../pb/google/rpc/status_pb.js';
import {
  type BuildHistoryRecord,
  BuildHistoryRecordSchema,
  BuildResultInfoSchema,
  type Descriptor,
  DescriptorSchema,
  type SolveRequest,
} from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { StatusResponse } from '../../../pb/moby/buildkit/v1/status_pb.js';
import { openDatabase, transaction } from '../../../store/sqlite.ts';
import type { BuildLog } from '../jobs/build-log.ts';
import { timestamp } from '../timestamp.ts';
import { decodeStatus, encodeStatus, statusMediaType } from './status-blob.ts';
import { traceMediaType, traceOf } from './trace.ts';

export interface HistoryEvent {
  type: 'started' | 'complete' | 'deleted';
  record: BuildHistoryRecord;
}

export interface HistoryLimits {
  /** Default 50, as in BuildKit. */
  maxEntries?: number;
  /** ms; default two days. */
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
];

/** The name is misspelt in BuildKit for good. */
const errorMediaType = 'application/vnd.googeapis.google.rpc.status+proto';

/** How a build ended. */
export interface BuildEnd {
  response?: Record<string, string>;
  error?: Status;
  /** What each output made, by its place among them. */
  results?: ReadonlyMap<number, OciDescriptor>;
}

/** A blob that a record names: its progress, trace or error. */
export interface HistoryBlob {
  digest: string;
  size: number;
  /** ms since the epoch */
  createdAt: number;
}

export class History {
  readonly #db: DatabaseSync;
  readonly #limits: Required<HistoryLimits>;
  readonly #active = new Map<string, BuildHistoryRecord>();
  readonly #listeners = new Set<(event: HistoryEvent) => void>();
  #closed = false;

  constructor(file: string, limits: HistoryLimits = {}) {
    this.#db = openDatabase({ hop: 'store', name: 'the build history', file }, schema);
    this.#db.exec('PRAGMA foreign_keys = ON');
    this.#limits = {
      maxEntries: limits.maxEntries ?? 50,
      maxAge: limits.maxAge ?? 48 * 3600 * 1000,
    };
    this.#trim();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#db.close();
  }

  started(ref: string, request: SolveRequest): void {
    const legacy =
      request.ExporterDeprecated === ''
        ? []
        : [{ Type: request.ExporterDeprecated, Attrs: request.ExporterAttrsDeprecated }];
    const record = create(BuildHistoryRecordSchema, {
      Ref: ref,
      Frontend: request.Frontend,
      FrontendAttrs: request.FrontendAttrs,
      Exporters: request.Exporters.length > 0 ? request.Exporters : legacy,
      CreatedAt: timestamp(Date.now()),
    });
    this.#active.set(ref, record);
    this.#tell({ type: 'started', record });
  }

  /** Writes the record down. A build of the same reference that ended earlier is replaced. */
  completed(ref: string, log: BuildLog, end: BuildEnd): void {
    const record = this.#active.get(ref);
    this.#active.delete(ref);
    if (record === undefined || this.#closed) return;
    const now = Date.now();
    const { total, cached, completed, warnings } = log.counts;
    record.CompletedAt = timestamp(now);
    record.numTotalSteps = total;
    record.numCachedSteps = cached;
    record.numCompletedSteps = completed;
    record.numWarnings = warnings;
    record.ExporterResponse = end.response ?? {};
    record.Result = resultsOf(end.results);
    const blobs: { descriptor: Descriptor; data: Uint8Array }[] = [];
    const keep = (mediaType: string, data: Uint8Array): Descriptor => {
      const descriptor = create(DescriptorSchema, {
        mediaType,
        digest: digestOf(data),
        size: BigInt(data.length),
      });
      blobs.push({ descriptor, data });
      return descriptor;
    };
    record.logs = keep(statusMediaType, encodeStatus(log.messages()));
    record.trace = keep(traceMediaType, this.#trace(record, log, end.error?.message));
    if (end.error !== undefined) {
      // Its details, which may hold a Dockerfile, are in the blob alone.
      record.error = create(StatusSchema, { code: end.error.code, message: end.error.message });
      record.externalError = keep(errorMediaType, toBinary(StatusSchema, end.error));
    }
    transaction(this.#db, () => {
      this.#db.prepare('DELETE FROM builds WHERE ref = ?').run(ref);
      this.#db
        .prepare('INSERT INTO builds (ref, completed_at, record) VALUES (?, ?, ?)')
        .run(ref, now, toBinary(BuildHistoryRecordSchema, record));
      const insert = this.#db.prepare(
        'INSERT OR IGNORE INTO blobs (ref, digest, size, created_at, data) VALUES (?, ?, ?, ?, ?)',
      );
      for (const { descriptor, data } of blobs) {
        insert.run(ref, descriptor.digest, data.length, now, gzipSync(data));
      }
    });
    this.#tell({ type: 'complete', record });
    this.#trim();
  }

  #trace(record: BuildHistoryRecord, log: BuildLog, error: string | undefined): Buffer {
    const ms = (time: BuildHistoryRecord['CreatedAt']) => (time === undefined ? 0 : timestampMs(time));
    return traceOf({
      ref: record.Ref,
      started: ms(record.CreatedAt),
      completed: ms(record.CompletedAt),
      error,
      vertices: log.vertices(),
    });
  }

  active(): BuildHistoryRecord[] {
    return [...this.#active.values()];
  }

  /** Ended builds, newest first. */
  list(): BuildHistoryRecord[] {
    const rows = this.#db.prepare('SELECT record FROM builds ORDER BY completed_at DESC, ref').all();
    return rows.map(({ record }) => fromBinary(BuildHistoryRecordSchema, record as Uint8Array));
  }

  /** The progress of a build that ended; undefined when it is not known. */
  statusOf(ref: string): Iterable<StatusResponse> | undefined {
    const row = this.#db.prepare('SELECT record FROM builds WHERE ref = ?').get(ref);
    if (row === undefined) return undefined;
    const { logs } = fromBinary(BuildHistoryRecordSchema, row.record as Uint8Array);
    const bytes = logs && this.readBlob(logs.digest);
    return bytes && decodeStatus(bytes);
  }

  /** A blob of a record; undefined when there is none of this digest. */
  blob(digest: string): HistoryBlob | undefined {
    return this.blobs(digest)[0];
  }

  /** All blobs of records, or those of one digest. */
  blobs(digest?: string): HistoryBlob[] {
    const rows = this.#db
      .prepare(
        `SELECT digest, size, MIN(created_at) AS created_at FROM blobs WHERE ?1 IS NULL OR digest = ?1
           GROUP BY digest ORDER BY digest`,
      )
      .all(digest ?? null);
    return rows.map((row) => ({
      digest: String(row.digest),
      size: Number(row.size),
      createdAt: Number(row.created_at),
    }));
  }

  readBlob(digest: string): Buffer | undefined {
    const row = this.#db.prepare('SELECT data FROM blobs WHERE digest = ? LIMIT 1').get(digest);
    return row && gunzipSync(row.data as Uint8Array);
  }

  /** Keeps a build beyond all limits, or not any more; false when it is not known. */
  pin(ref: string, pinned: boolean): boolean {
    const row = this.#db.prepare('SELECT record FROM builds WHERE ref = ?').get(ref);
    if (row === undefined) return false;
    const record = fromBinary(BuildHistoryRecordSchema, row.record as Uint8Array);
    record.pinned = pinned;
    record.Generation++;
    this.#db
      .prepare('UPDATE builds SET pinned = ?, record = ? WHERE ref = ?')
      .run(pinned ? 1 : 0, toBinary(BuildHistoryRecordSchema, record), ref);
    this.#tell({ type: 'complete', record });
    return true;
  }

  /** False when it is not known. */
  delete(ref: string): boolean {
    const { changes } = this.#db.prepare('DELETE FROM builds WHERE ref = ?').run(ref);
    if (changes === 0) return false;
    this.#tell({ type: 'deleted', record: create(BuildHistoryRecordSchema, { Ref: ref }) });
    return true;
  }

  has(ref: string): boolean {
    return (
      this.#active.has(ref) || this.#db.prepare('SELECT 1 FROM builds WHERE ref = ?').get(ref) !== undefined
    );
  }

  /** Calls back for each event from now on; returns how to stop that. */
  listen(listener: (event: HistoryEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(event: HistoryEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  #trim(): void {
    const doomed = this.#db
      .prepare(
        `SELECT ref FROM builds WHERE pinned = 0 AND (completed_at < ? OR ref NOT IN
           (SELECT ref FROM builds WHERE pinned = 0 ORDER BY completed_at DESC LIMIT ?))`,
      )
      .all(Date.now() - this.#limits.maxAge, this.#limits.maxEntries);
    for (const { ref } of doomed) this.delete(String(ref));
  }
}

/** What clients look for in a record: each output's descriptor, the first one also where older clients look. */
function resultsOf(results: BuildEnd['results']): BuildHistoryRecord['Result'] {
  if (results === undefined || results.size === 0) return undefined;
  const messages = [...results].map(([index, { mediaType, digest, size, annotations }]) => {
    const descriptor = { mediaType, digest, size: BigInt(size), annotations: annotations ?? {} };
    return [String(index), create(DescriptorSchema, descriptor)] as const;
  });
  return create(BuildResultInfoSchema, {
    ResultDeprecated: messages[0]?.[1],
    Results: Object.fromEntries(messages),
  });
}
