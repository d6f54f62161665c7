import { DatabaseSync } from 'node:sqlite';
import { ownDatabase } from '../linux/index.ts';

/**
 * Opens or makes a database that only saves work: what it has can be found out again, so nothing waits for the disk.
 * `schema` is SQL that may be run each time. Undefined when the database cannot be had; the work is then done anew.
 */
export function openSpare(file: string, schema: string): DatabaseSync | undefined {
  let db: DatabaseSync | undefined;
  try {
    ownDatabase(file);
    db = new DatabaseSync(file);
    db.exec('PRAGMA busy_timeout=3000; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF');
    db.exec(schema);
    return db;
  } catch {
    db?.close();
    return undefined;
  }
}
