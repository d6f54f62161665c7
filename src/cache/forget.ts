/** Forgets the records without results that no result is built on any more, a few rows at a time. */
import type { DatabaseSync } from 'node:sqlite';
import type { Digest } from '../oci/index.ts';
import { type DatabaseName, prepare, transaction } from '../store/index.ts';

/** The rows that are read at once. */
const pageRows = 500;
/** The rows that are looked at in one transaction that deletes: some ms. */
const sweptRows = 50;
/** How often the search begins anew because another process has written; then the rest is left for the next time. */
const maxTries = 5;

/**
 * Finds the records that have results or that a key of such a record names, directly or through others, then deletes
 * all others with their keys. `named`: the ids that this process has saved or named since; they are found, too.
 */
export function* forgetUnnamed(name: DatabaseName, db: DatabaseSync, named: Digest[]): Generator<void, void> {
  const version = prepare(name, db, 'PRAGMA data_version');
  for (let tries = 0; tries < maxTries; tries++) {
    const began = version.get()?.data_version;
    const isAlone = () => version.get()?.data_version === began;
    const ids = yield* liveIds(name, db);
    if (ids.length === 0 && forgetAll(name, db, named, isAlone)) return;
    if (yield* sweep(name, db, ids, named, isAlone)) return;
  }
}

/**
 * Empties the tables when nothing in them is worth keeping, as after a prune of everything: row by row it takes a
 * hundred times as long. False, and nothing is done, when somebody has saved or named a record meanwhile.
 */
function forgetAll(
  name: DatabaseName,
  db: DatabaseSync,
  named: readonly Digest[],
  isAlone: () => boolean,
): boolean {
  const trigger = prepare(
    name,
    db,
    "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = 'record_removed'",
  );
  const anyLive = prepare(name, db, 'SELECT 1 FROM records WHERE results IS NOT NULL LIMIT 1');
  return transaction(name, db, () => {
    if (!isAlone() || named.length > 0 || anyLive.get() !== undefined) return false;
    const counting = String(trigger.get()?.sql);
    // SQLite empties a table at once when no trigger wants to see each row.
    for (const sql of [
      'DELETE FROM links',
      'DELETE FROM keys',
      'DROP TRIGGER record_removed',
      'DELETE FROM records',
      'DELETE FROM reached',
      counting,
      'UPDATE total SET size = 0, live = 0, bare = 0',
    ]) {
      prepare(name, db, sql).run();
    }
    return true;
  });
}

/** The ids of all records that have results. */
function* liveIds(name: DatabaseName, db: DatabaseSync): Generator<void, string[]> {
  const page = prepare(
    name,
    db,
    'SELECT n, id FROM records WHERE results IS NOT NULL AND n > ? ORDER BY n LIMIT ?',
  );
  const ids: string[] = [];
  for (let last = 0; ; ) {
    const rows = page.all(last, pageRows);
    for (const { id } of rows) ids.push(String(id));
    if (rows.length < pageRows) return ids;
    last = Number(rows.at(-1)?.n);
    yield;
  }
}

/** Deletes what cannot be reached from `ids` and `named`. False when another process has written meanwhile. */
function* sweep(
  name: DatabaseName,
  db: DatabaseSync,
  ids: string[],
  named: Digest[],
  isAlone: () => boolean,
): Generator<void, boolean> {
  const depsOf = prepare(
    name,
    db,
    'SELECT l.dep FROM keys k JOIN links l ON l.key = k.key WHERE k.record = ?',
  );
  const page = prepare(
    name,
    db,
    'SELECT n, id FROM records WHERE results IS NULL AND n > ? ORDER BY n LIMIT ?',
  );
  const deleted = [
    'DELETE FROM links WHERE key IN (SELECT key FROM keys WHERE record = ?)',
    'DELETE FROM keys WHERE record = ?',
    'DELETE FROM records WHERE id = ?',
  ].map((sql) => prepare(name, db, sql));
  const live = new Set<string>();
  let waiting = ids;
  for (let last = 0; ; ) {
    for (;;) {
      // What was saved between two turns counts before anything is deleted.
      waiting.push(...named.splice(0, pageRows));
      const id = waiting.pop();
      if (id === undefined) break;
      if (live.has(id)) continue;
      live.add(id);
      for (const { dep } of depsOf.all(id)) waiting.push(String(dep));
      yield;
    }
    waiting = [];
    const next = transaction(name, db, () => {
      if (!isAlone()) return undefined;
      const rows = page.all(last, sweptRows);
      for (const { id } of rows) {
        if (!live.has(String(id))) for (const statement of deleted) statement.run(String(id));
      }
      return rows;
    });
    if (next === undefined) return false;
    if (next.length < sweptRows) return true;
    last = Number(next.at(-1)?.n);
    yield;
  }
}
