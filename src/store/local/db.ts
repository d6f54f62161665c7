import { dirname } from 'node:path';
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';
import { DrydockError, fail, toDrydockError } from '../../errors/index.ts';
import { isDue, nextTurn } from '../../workers/index.ts';
import { releaseReserve } from '../shared/reserve.ts';
import { type DatabaseName, openDatabase, translated } from '../sqlite.ts';
import { schema } from './schema.ts';

/** The largest number of changes in one transaction: other work waits as long as it takes. */
const mostTogether = 256;

interface QueuedChange {
  how: 'write' | 'free';
  body(): void;
  resolve(): void;
  reject(err: unknown): void;
}

export type Row = Record<string, SQLOutputValue>;

/** The number of rows read at once, which takes some ms at most. */
const pageRows = 500;

/**
 * The store's metadata in SQLite (WAL mode, statements prepared once). Write transactions take the write lock at their
 * start. That lock also orders changes of folders and files among processes: blobs and layer folders are moved into
 * place only inside a write transaction. So a process that holds the lock and sees a file without a row sees the
 * remains of a killed process.
 */
export class Db {
  readonly #name: DatabaseName;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #waiting: QueuedChange[] = [];

  /** Opens the database. Throws as `openDatabase` does. */
  constructor(file: string) {
    this.#name = { hop: 'store', name: "the store's metadata", file };
    this.#db = openDatabase(this.#name, schema);
  }

  get(sql: string, ...params: SQLInputValue[]): Row | undefined {
    return translated(this.#name, () => this.#statement(sql).get(...params));
  }

  all(sql: string, ...params: SQLInputValue[]): Row[] {
    return translated(this.#name, () => this.#statement(sql).all(...params));
  }

  /**
   * Returns all rows of a table in the order of `key`, which is unique in it, or those with a value in a column. The
   * rows are read a few at a time, in turns with other work; no row that is there all the time is left out.
   */
  async rows(table: string, key: string, where?: { column: string; is: string }): Promise<Row[]> {
    const rows: Row[] = [];
    const more = where === undefined ? '' : `${where.column} = ? AND `;
    const sql = `SELECT * FROM ${table} WHERE ${more}${key} > ? ORDER BY ${key} LIMIT ?`;
    for (let last = ''; ; ) {
      const page = this.all(sql, ...(where === undefined ? [] : [where.is]), last, pageRows);
      for (const row of page) rows.push(row);
      if (page.length < pageRows) return rows;
      last = String(page.at(-1)?.[key]);
      if (isDue()) await nextTurn();
    }
  }

  /** Runs a statement; returns the number of changed rows and the last row id. */
  run(sql: string, ...params: SQLInputValue[]): { changes: number; rowId: number } {
    const { changes, lastInsertRowid } = translated(this.#name, () => this.#statement(sql).run(...params));
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
      // Files are made and moved within transactions, so a full disk shows here too.
      throw toDrydockError(err, 'store');
    }
  }

  /**
   * Runs a `write` that frees space. On a full disk even deleting needs some pages: the reserve is given up then, and
   * `body` runs a second time.
   */
  free<T>(body: () => T): T {
    try {
      return this.write(body);
    } catch (err) {
      if (!(err instanceof DrydockError) || err.code !== 'exhausted') throw err;
      releaseReserve(dirname(this.#name.file));
      this.#rewindLog();
      return this.write(body);
    }
  }

  /** Makes the next changes overwrite SQLite's log instead of making it longer. */
  #rewindLog(): void {
    try {
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch {
      // Then the reserve must be enough.
    }
  }

  /**
   * Runs a `write` or `free` that nobody needs before the promise resolves. Changes that come in one turn of the event
   * loop are made in one transaction, in order. Each fails by itself.
   */
  together(how: 'write' | 'free', body: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#flush());
      this.#waiting.push({ how, body, resolve, reject });
    });
  }

  #flush(): void {
    const changes = this.#waiting.splice(0, mostTogether);
    if (this.#waiting.length > 0) setImmediate(() => this.#flush());
    try {
      if (changes.length > 1) {
        this.write(() => {
          for (const { body } of changes) body();
        });
        for (const { resolve } of changes) resolve();
        return;
      }
    } catch {
      // The whole transaction was undone. Running its changes one by one shows which of them failed.
    }
    for (const { how, body, resolve, reject } of changes) {
      try {
        this[how](body);
        resolve();
      } catch (err) {
        reject(err);
      }
    }
  }

  close(): void {
    while (this.#waiting.length > 0) this.#flush();
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

/** A labels column as an object. */
export function parseLabels(value: SQLOutputValue | undefined): Record<string, string> {
  return value === '{}' ? {} : (JSON.parse(String(value)) as Record<string, string>);
}

/** The labels with changes applied; undefined removes a label. */
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
