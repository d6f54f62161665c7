/** Opens the SQLite databases that several processes share, and says what went wrong with them. */
import { rmSync, writeFileSync } from 'node:fs';
import {
  DatabaseSync,
  type SQLInputValue,
  type SQLOutputValue,
  type StatementResultingChanges,
} from 'node:sqlite';
import { DrydockError, fail, type Hop, toDrydockError } from '../errors/index.ts';
import { ownDatabase } from '../linux/index.ts';
import { isBoltDatabase } from './bolt.ts';

/** The description of a database, for errors about it. */
export interface DatabaseName {
  hop: Hop;
  /** The database in words, for example "the store's metadata". */
  name: string;
  file: string;
}

const SQLITE_BUSY = 5;
const SQLITE_READONLY = 8;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;

/** How long a process waits for another process's write transaction (they take milliseconds). */
const patienceMs = 20_000;
/**
 * The pages that SQLite's log may hold before they go into the database file, which waits for the disk. SQLite's
 * default is 1,000.
 */
const pagesBetweenCheckpoints = 4000;

/**
 * Opens a database in WAL mode, readable by its owner only, and brings it to the newest schema. `steps` are SQL
 * scripts, each leading from one version to the next; the version is SQLite's `user_version`. Throws `unavailable` when
 * other processes keep it locked, `corrupt`, `exhausted`, and `unsupported` when a newer Drydock made it.
 */
export function openDatabase(name: DatabaseName, steps: readonly string[]): DatabaseSync {
  const db = translated(name, () => {
    ownDatabase(name.file);
    return new DatabaseSync(name.file, { timeout: patienceMs });
  });
  try {
    // The switch to WAL needs the file for itself and does not wait for it by SQLite's own timeout.
    retryBusy(name, () => db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL'));
    db.exec(`PRAGMA wal_autocheckpoint=${pagesBetweenCheckpoints}`);
    retryBusy(name, () => migrate(db, name, steps));
    return db;
  } catch (err) {
    db.close();
    throw err;
  }
}

function migrate(db: DatabaseSync, { hop, name, file }: DatabaseName, steps: readonly string[]): void {
  const version = () => Number(db.prepare('PRAGMA user_version').get()?.user_version ?? 0);
  if (version() === steps.length) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    const from = version();
    if (from > steps.length) {
      throw fail(
        'unsupported',
        hop,
        `${name} have format ${from}; this Drydock knows up to ${steps.length}`,
        {
          hint: 'Use the newer Drydock that made them, or another --root.',
          details: { file },
        },
      );
    }
    for (const step of steps.slice(from)) db.exec(step);
    db.exec(`PRAGMA user_version = ${steps.length}`);
    db.exec('COMMIT');
  } catch (err) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw err;
  }
}

/**
 * Runs `body` in a transaction that holds the write lock from its start. The transaction is rolled back when `body`
 * throws. SQLite's failures become DrydockErrors with a hint.
 */
export function transaction<T>(name: DatabaseName, db: DatabaseSync, body: () => T): T {
  try {
    db.exec('BEGIN IMMEDIATE');
    const result = body();
    db.exec('COMMIT');
    return result;
  } catch (err) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw sqliteError(name, err);
  }
}

/** A prepared statement; its failures become DrydockErrors with a hint. */
export interface Statement {
  all(...params: SQLInputValue[]): Row[];
  get(...params: SQLInputValue[]): Row | undefined;
  run(...params: SQLInputValue[]): StatementResultingChanges;
}

type Row = Record<string, SQLOutputValue>;

/** Prepares a statement for many uses. */
export function prepare(name: DatabaseName, db: DatabaseSync, sql: string): Statement {
  const statement = translated(name, () => db.prepare(sql));
  return {
    all: (...params: SQLInputValue[]) => translated(name, () => statement.all(...params)),
    get: (...params: SQLInputValue[]) => translated(name, () => statement.get(...params)),
    run: (...params: SQLInputValue[]) => translated(name, () => statement.run(...params)),
  };
}

/** A prepared query; its failures become DrydockErrors with a hint. */
export type List = (...params: SQLInputValue[]) => SQLOutputValue[][];

/** Prepares a query whose rows are arrays of their columns, which cost a third of objects: for long lists. */
export function prepareList(name: DatabaseName, db: DatabaseSync, sql: string): List {
  const statement = translated(name, () => db.prepare(sql));
  statement.setReturnArrays(true);
  return (...params) => translated(name, () => statement.all(...params) as unknown as SQLOutputValue[][]);
}

function retryBusy(name: DatabaseName, body: () => void): void {
  const until = Date.now() + patienceMs;
  for (;;) {
    try {
      body();
      return;
    } catch (err) {
      if (sqliteCode(err) !== SQLITE_BUSY || Date.now() > until) throw sqliteError(name, err);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

/** Runs `body`; SQLite's failures in it become DrydockErrors with a hint. */
export function translated<T>(name: DatabaseName, body: () => T): T {
  try {
    return body();
  } catch (err) {
    throw sqliteError(name, err);
  }
}

function sqliteCode(err: unknown): number | undefined {
  if (!(err instanceof Error) || !('errcode' in err) || typeof err.errcode !== 'number') return undefined;
  return err.errcode & 0xff;
}

function sqliteError({ hop, name, file }: DatabaseName, err: unknown): unknown {
  if (err instanceof DrydockError) return err;
  const text = err instanceof Error ? err.message : String(err);
  const rest = { cause: err, details: { file } };
  switch (sqliteCode(err)) {
    case SQLITE_BUSY:
      return fail('unavailable', hop, `another process keeps ${name} locked (${text})`, {
        hint: 'Try again; if they stay locked, look for a hanging drydock process.',
        ...rest,
      });
    case SQLITE_FULL:
      return fail('exhausted', hop, `no space left for ${name} (${text})`, {
        hint: 'Free disk space, for example with `drydock prune`.',
        ...rest,
      });
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      if (isBoltDatabase(file)) {
        return fail(
          'conflict',
          hop,
          `${file} is the database of another program, such as BuildKit's buildkitd`,
          {
            hint: 'Choose another --root, or start `drydock buildkitd` there once, which sets the state of a buildkitd aside.',
            ...rest,
          },
        );
      }
      return fail('corrupt', hop, `${name} are damaged (${text})`, {
        hint: `Move ${file} away (or restore it from a backup) and start again.`,
        ...rest,
      });
    case SQLITE_READONLY:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      return systemReason({ hop, name, file }, err);
    case undefined:
      return err;
    default:
      return fail('internal', hop, `${name}: ${text}`, rest);
  }
}

/** The size of the probe file in bytes: more than SQLite's index of its log takes. */
const probeBytes = 64 << 10;

/**
 * SQLite says that it cannot read or write, but not why. Writing another file beside the database meets the same
 * obstacle and tells its reason.
 */
function systemReason({ hop, name, file }: DatabaseName, err: unknown): DrydockError {
  const probe = `${file}.probe-${process.pid}`;
  const text = err instanceof Error ? err.message : String(err);
  try {
    writeFileSync(probe, Buffer.alloc(probeBytes, 1), { mode: 0o600 });
  } catch (reason) {
    const { code, message, hint } = toDrydockError(reason, hop);
    // The trouble in words, without the probe's own name.
    const what = message.replace(/: E[A-Z]+: .*/s, '');
    return fail(code, hop, `${name}: ${what}`, { hint, cause: err, details: { file } });
  } finally {
    removeIfThere(probe);
  }
  return fail('internal', hop, `${name}: ${text}`, { cause: err, details: { file } });
}

function removeIfThere(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // A disk that refuses to write may refuse to remove as well.
  }
}
