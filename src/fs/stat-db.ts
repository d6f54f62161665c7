/**
 * Remembers the contents (digest, extended attributes) of files in clients' folders, so that an unchanged context costs
 * one lstat for each file; also the digests of whole trees in a known state. It is only a memory: when anything fails
 * with it, files are read again. Several processes may use one database at once.
 */
import type { DatabaseSync } from 'node:sqlite';
import { nameOf, rawName } from '../linux/index.ts';
import type { Digest } from '../oci/index.ts';
import { openSpare } from './spare-db.ts';
import type { FsEntry } from './view.ts';

const schema = `
  CREATE TABLE IF NOT EXISTS folders (key TEXT PRIMARY KEY, used_at INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS contents (
    key TEXT NOT NULL,
    path TEXT NOT NULL,
    stamp TEXT NOT NULL,
    contents TEXT NOT NULL,
    PRIMARY KEY (key, path)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS trees (
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    PRIMARY KEY (key, state)
  ) WITHOUT ROWID;`;

/** The number of trees remembered for each folder, newest first. */
const keepTrees = 32;

/** How long an unused folder is remembered: 30 days in ms. */
const keepFor = 30 * 24 * 3600 * 1000;

/**
 * A file whose inode changed less than this long ago (ns) is not remembered: a further change could fall into the
 * same tick of the filesystem's clock (at most 10 ms) and leave the same stamp.
 */
const settledNs = 100_000_000n;

/** The facts that must be equal for a file to be unchanged. Programs cannot set ctime, so it shows every change. */
export function stampOf(entry: Pick<FsEntry, 'ino' | 'size' | 'mtimeNs' | 'ctimeNs' | 'mode'>): string {
  return `${entry.ino} ${entry.size} ${entry.mtimeNs} ${entry.ctimeNs} ${entry.mode}`;
}

/** Whether a file last changed so long ago that its stamp, taken now, will differ after any later change. */
export function isSettled(ctimeNs: bigint, nowMs: number): boolean {
  return ctimeNs < BigInt(Math.floor(nowMs)) * 1_000_000n - settledNs;
}

/** The memory of one folder. */
export class StatMemory {
  readonly #key: Stored;
  #known: Map<string, { stamp: string; contents: string }> | undefined;
  #tree: { state: string; digest: Digest; bytes: number } | undefined;
  readonly #fresh = new Map<string, { stamp: string; contents: string }>();
  readonly #db: DatabaseSync | undefined;
  #hits = 0;

  /** Opens the memory of the folder `key`. */
  constructor(file: string, key: string) {
    this.#key = rawName(key);
    this.#db = openSpare(file, schema);
  }

  /** The digest of a tree in a state that `treeKey` returned, and the bytes of its files. */
  tree(state: string): { digest: Digest; bytes: number } | undefined {
    try {
      const query = this.#db?.prepare('SELECT digest, bytes FROM trees WHERE key = ? AND state = ?');
      const row = query?.get(this.#key, state);
      return row === undefined ? undefined : { digest: row.digest as Digest, bytes: Number(row.bytes) };
    } catch {
      return undefined;
    }
  }

  putTree(state: string, digest: Digest, bytes: number): void {
    this.#tree = { state, digest, bytes };
  }

  /** The contents that were remembered for the file, if it is unchanged. */
  get(entry: FsEntry): string | undefined {
    this.#known ??= this.#load();
    const known = this.#known.get(entry.path);
    if (known === undefined || known.stamp !== stampOf(entry)) return undefined;
    this.#hits++;
    return known.contents;
  }

  #load(): Map<string, { stamp: string; contents: string }> {
    const known = new Map<string, { stamp: string; contents: string }>();
    try {
      const query = this.#db?.prepare('SELECT path, stamp, contents FROM contents WHERE key = ?');
      query?.setReturnArrays(true);
      // This is the form that the setting asks for; the types do not know it.
      const rows = (query?.all(this.#key) ?? []) as unknown as [
        path: Stored,
        stamp: string,
        contents: Stored,
      ][];
      for (const [path, stamp, contents] of rows)
        known.set(textOf(path), { stamp, contents: textOf(contents) });
    } catch {
      known.clear();
    }
    return known;
  }

  put(entry: FsEntry, contents: string): void {
    this.#fresh.set(entry.path, { stamp: stampOf(entry), contents });
  }

  /** Writes the new entries and closes the database. */
  close(): void {
    const db = this.#db;
    if (db === undefined) return;
    try {
      this.#save(db);
    } catch {
      // Another process keeps the database locked, or the disk is full: the next build hashes again.
    } finally {
      db.close();
    }
  }

  #save(db: DatabaseSync): void {
    const now = Date.now();
    const used = db.prepare('SELECT used_at FROM folders WHERE key = ?').get(this.#key)?.used_at;
    const tree = this.#tree;
    const stale = (this.#known?.size ?? 0) > 2 * (this.#hits + this.#fresh.size) + 1000;
    const fresh = this.#fresh.size > 0 || tree !== undefined;
    if (!fresh && !stale && now - Number(used ?? 0) < 3600_000) return;
    db.exec('BEGIN IMMEDIATE');
    try {
      db.prepare('INSERT OR REPLACE INTO folders (key, used_at) VALUES (?, ?)').run(this.#key, now);
      if (stale) db.prepare('DELETE FROM contents WHERE key = ?').run(this.#key);
      const put = db.prepare(
        'INSERT OR REPLACE INTO contents (key, path, stamp, contents) VALUES (?, ?, ?, ?)',
      );
      for (const [path, { stamp, contents }] of this.#fresh) {
        put.run(this.#key, rawName(path), stamp, rawName(contents));
      }
      if (tree !== undefined) {
        const { state, digest, bytes } = tree;
        db.prepare('INSERT OR REPLACE INTO trees VALUES (?, ?, ?, ?, ?)').run(
          ...[this.#key, state, digest, bytes, now],
        );
        db.prepare(
          `DELETE FROM trees WHERE key = ?1 AND state NOT IN
             (SELECT state FROM trees WHERE key = ?1 ORDER BY made_at DESC LIMIT ${keepTrees})`,
        ).run(this.#key);
      }
      const old = db.prepare('SELECT key FROM folders WHERE used_at < ?').all(now - keepFor);
      for (const { key } of old as { key: string }[]) {
        db.prepare('DELETE FROM contents WHERE key = ?').run(key);
        db.prepare('DELETE FROM trees WHERE key = ?').run(key);
        db.prepare('DELETE FROM folders WHERE key = ?').run(key);
      }
      db.exec('COMMIT');
    } catch (err) {
      db.exec('ROLLBACK');
      throw err;
    }
  }
}

/** A text that holds names, or its bytes when a name in it is not UTF-8. */
type Stored = string | Uint8Array;

function textOf(stored: Stored): string {
  return typeof stored === 'string' ? stored : nameOf(Buffer.from(stored));
}
