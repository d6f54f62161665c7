import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { DrydockError, fail } from '../../errors/error.ts';
import { migrate } from './schema.ts';

export type Row = Record<string, SQLOutputValue>;

const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;

/** How long a process waits for another's write transaction (they take milliseconds). */
const patienceMs = 20_000;

/**
 * The store's metadata: SQLite in WAL mode, statements prepared once, write transactions that take the write lock
 * at their start. That lock is also what orders changes of folders and files among processes: blobs and layer
 * folders are moved into place only inside a write transaction, so whoever holds it and sees a file without a row
 * sees something a killed process left.
 */
export class Db {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** Throws `unavailable` when others keep it locked, `corrupt`, `unsupported` when it is too new. */
  constructor(file: string) {
    this.#db = translate(() => new DatabaseSync(file, { timeout: patienceMs }));
    try {
      // The switch to WAL needs the file for itself and does not wait for it by SQLite's own timeout.
      retryBusy(() => this.#db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL'));
      retryBusy(() => migrate(this.#db));
    } catch (err) {
      this.#db.close();
      throw err;
    }
  }

  get(sql: string, ...params: SQLInputValue[]): Row | undefined {
    return translate(() => this.#statement(sql).get(...params));
  }

  all(sql: string, ...params: SQLInputValue[]): Row[] {
    return translate(() => this.#statement(sql).all(...params));
  }

  /** Runs a statement; gives the number of changed rows and the last row id. */
  run(sql: string, ...params: SQLInputValue[]): { changes: number; rowId: number } {
    const { changes, lastInsertRowid } = translate(() => this.#statement(sql).run(...params));
    return { changes: Number(changes), rowId: Number(lastInsertRowid) };
  }

  /** Runs `body` (synchronous) in a transaction that holds the write lock from its start. */
  write<T>(body: () => T): T {
    this.run('BEGIN IMMEDIATE');
    try {
      const result = body();
      this.run('COMMIT');
      return result;
    } catch (err) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw err;
    }
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      if (!this.#db.isOpen) throw fail('unavailable', 'store', 'the store was closed');
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

function sqliteCode(err: unknown): number | undefined {
  if (!(err instanceof Error) || !('errcode' in err) || typeof err.errcode !== 'number') return undefined;
  return err.errcode & 0xff;
}

function retryBusy(body: () => void): void {
  const until = Date.now() + patienceMs;
  for (;;) {
    try {
      body();
      return;
    } catch (err) {
      if (sqliteCode(err) !== SQLITE_BUSY || Date.now() > until) throw asError(err);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

function translate<T>(body: () => T): T {
  try {
    return body();
  } catch (err) {
    throw asError(err);
  }
}

/** SQLite's failures as errors that say what to do. */
function asError(err: unknown): unknown {
  if (err instanceof DrydockError) return err;
  const text = err instanceof Error ? err.message : String(err);
  switch (sqliteCode(err)) {
    case SQLITE_BUSY:
      return fail('unavailable', 'store', `another process keeps the store's metadata locked (${text})`, {
        hint: 'Try again; if it stays locked, look for a hanging drydock process.',
        cause: err,
      });
    case SQLITE_FULL:
      return fail('exhausted', 'store', `no space left for the store's metadata (${text})`, {
        hint: 'Free disk space, for example with `drydock prune`.',
        cause: err,
      });
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return fail('corrupt', 'store', `the store's metadata is damaged (${text})`, {
        hint: 'Move the store folder away and start with a new one, or restore its store.db.',
        cause: err,
      });
    case undefined:
      return err;
    default:
      return fail('internal', 'store', `the store's metadata: ${text}`, { cause: err });
  }
}

/** A labels column as an object. */
export function parseLabels(value: SQLOutputValue | undefined): Record<string, string> {
  return value === '{}' ? {} : (JSON.parse(String(value)) as Record<string, string>);
}

/** Labels with changes applied; undefined removes one. */
export function mergeLabels(
  old: Record<string, string>,
  changes: Record<string, string | undefined>,
): Record<string, string> {
  const labels = { ...old };
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) delete labels[name];
    else labels[name] = value;
  }
  return labels;
}
