/** Builds that ran, kept across restarts: records with their progress, until they are too many or too old. */
import type { DatabaseSync } from 'node:sqlite';
import { gunzipSync, gzipSync } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { sizeDelimitedDecodeStream, sizeDelimitedEncode } from '@bufbuild/protobuf/wire';
import type { Status } from '../../../pb/google/rpc/status_pb.js';
import {
  type BuildHistoryRecord,
  BuildHistoryRecordSchema,
  type SolveRequest,
} from '../../../pb/moby/buildkit/v1/control_pb.js';
import { type StatusResponse, StatusResponseSchema } from '../../../pb/moby/buildkit/v1/status_pb.js';
import { openDatabase } from '../../../store/sqlite.ts';
import type { BuildLog } from '../jobs/build-log.ts';
import { timestamp } from '../timestamp.ts';

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
];

export class History {
  readonly #db: DatabaseSync;
  readonly #limits: Required<HistoryLimits>;
  readonly #active = new Map<string, BuildHistoryRecord>();
  readonly #listeners = new Set<(event: HistoryEvent) => void>();
  #closed = false;

  constructor(file: string, limits: HistoryLimits = {}) {
    this.#db = openDatabase({ hop: 'store', name: 'the build history', file }, schema);
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
  completed(ref: string, log: BuildLog, end: { response?: Record<string, string>; error?: Status }): void {
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
    record.error = end.error;
    const status = gzipSync(
      Buffer.concat(log.messages().map((each) => sizeDelimitedEncode(StatusResponseSchema, each))),
    );
    this.#db
      .prepare('INSERT OR REPLACE INTO builds (ref, completed_at, record, status) VALUES (?, ?, ?, ?)')
      .run(ref, now, toBinary(BuildHistoryRecordSchema, record), status);
    this.#tell({ type: 'complete', record });
    this.#trim();
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
  statusOf(ref: string): AsyncIterable<StatusResponse> | undefined {
    const row = this.#db.prepare('SELECT status FROM builds WHERE ref = ?').get(ref);
    if (row === undefined) return undefined;
    const bytes = gunzipSync(row.status as Uint8Array);
    return sizeDelimitedDecodeStream(
      StatusResponseSchema,
      (async function* () {
        yield bytes;
      })(),
    );
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
