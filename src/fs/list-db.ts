/**
 * Keeps the lists of files that content digests cover, by digest, for saying later what has changed. It is only a
 * memory: whatever goes wrong with it, changes are told without names. Several processes may use one database at once.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Digest } from '../oci/index.ts';
import { type ListedFile, readList } from './listing.ts';
import { openSpare } from './spare-db.ts';

const schema = `
  CREATE TABLE IF NOT EXISTS lists (digest TEXT PRIMARY KEY, made_at INTEGER NOT NULL, files BLOB NOT NULL);
  CREATE INDEX IF NOT EXISTS lists_by_age ON lists (made_at);`;

/** Bytes that all lists take at most; the oldest go first. */
const keepBytes = 64e6;

/** Puts the list of a digest in, unless it is there; `make` is called only then, and makes none of what is too large. */
export function keepList(file: string, digest: Digest, make: () => Uint8Array | undefined): void {
  const db = openSpare(file, schema);
  try {
    if (db === undefined || db.prepare('SELECT 1 FROM lists WHERE digest = ?').get(digest) !== undefined)
      return;
    const files = make();
    if (files === undefined) return;
    db.prepare('INSERT OR IGNORE INTO lists VALUES (?, ?, ?)').run(digest, Date.now(), files);
    trim(db);
  } catch {
    // Another process holds it too long, or the disk is full: what changes next is told without names.
  } finally {
    db?.close();
  }
}

function trim(db: DatabaseSync): void {
  const rows = db.prepare('SELECT digest, length(files) AS size FROM lists ORDER BY made_at DESC').all();
  const remove = db.prepare('DELETE FROM lists WHERE digest = ?');
  let total = 0;
  for (const { digest, size } of rows as { digest: string; size: number }[]) {
    total += size;
    if (total > keepBytes) remove.run(digest);
  }
}

/** The lists of some digests, as far as they are kept. */
export function listsOf(file: string, digests: readonly Digest[]): Map<Digest, Map<string, ListedFile>> {
  const found = new Map<Digest, Map<string, ListedFile>>();
  const db = openSpare(file, schema);
  try {
    const query = db?.prepare('SELECT files FROM lists WHERE digest = ?');
    for (const digest of digests) {
      const files = query?.get(digest)?.files;
      if (files instanceof Uint8Array) found.set(digest, readList(files));
    }
  } catch {
    // As if they were not kept.
  } finally {
    db?.close();
  }
  return found;
}

/** Forgets all lists of a database that is there, and gives their room on the disk back. */
export function dropLists(file: string): void {
  const db = openSpare(file, schema);
  try {
    db?.exec('DELETE FROM lists; VACUUM');
  } catch {
    // Another process holds it too long: the lists go by their age.
  } finally {
    db?.close();
  }
}
