/**
 * Persistent cache records. A record tells what a vertex's outputs were; keys lead to records. Several keys (one of the
 * vertex's definition, some of its contents) may lead to one record. That is how equal work from different definitions
 * finds the same record, and everything built on it finds its records too.
 *
 * A record whose result was pruned stays as an identity as long as keys of others are made with it.
 *
 *     cache.save(record, [{ key, parts }]); // after running a vertex
 *     cache.byKey(key)?.results; // in the next build
 */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Digest } from '../oci/index.ts';
import type { NetworkUse } from '../progress/index.ts';
import {
  type DatabaseName,
  type List,
  openDatabase,
  prepare,
  prepareList,
  type SerializedRef,
  type Statement,
  transaction,
} from '../store/index.ts';
import { forgetUnnamed } from './forget.ts';
import { ReachedTable } from './reached.ts';
import { recordColumns, toRecord } from './row.ts';
import { schema } from './schema.ts';

/** The kind of a record, in BuildKit's words for `du`. */
export type RecordType =
  | 'regular'
  | 'source.local'
  | 'source.git.checkout'
  | 'exec.cachemount'
  | 'frontend'
  | 'internal';

/** What a build is for, so that its records are found by it. */
export interface MadeFor {
  /** The client's folder, what stands for it where it is sent, or the URL of the context. */
  project?: string;
  /** Names of the images, in full: `docker.io/library/app:latest`. */
  images: readonly string[];
}

/** The outputs of a vertex, and the facts about their use. Times are in ms since the epoch. */
export interface CacheRecord {
  id: Digest;
  description: string;
  type: RecordType;
  /**
   * The tenant whose build made the record, where builds are kept apart. Every build may hit it; only lists are by
   * owner.
   */
  owner?: string;
  /** What the build that made the record was for; undefined: nobody knows. */
  madeFor?: MadeFor;
  /** One result for each output; undefined after pruning. */
  results: SerializedRef[] | undefined;
  /** Bytes of the layers that this record added. */
  size: number;
  /** ms since the epoch */
  createdAt: number;
  lastUsedAt: number;
  usageCount: number;
}

/** The parts that a key was made of, for `explain` and for exporting the cache. */
export interface KeyParts {
  kind: 'definition' | 'content';
  /** The digest of the op without its inputs. */
  op: Digest;
  deps: {
    /** Record id, or a content digest. */ id: Digest;
    index: number;
    selector: string;
    content: boolean;
  }[];
}

/** A record with all keys that lead to it, in a form that another cache can import. */
export interface CacheEntry {
  record: CacheRecord;
  keys: { key: Digest; parts: KeyParts }[];
}

/** The number of rows read at once, which takes some ms at most. */
const pageRows = 500;

/** The records under one root. */
export class Cache {
  readonly #name: DatabaseName;
  /** Lists that get the ids which are saved or named while something is forgotten. */
  readonly #listeners = new Set<Digest[]>();
  readonly #db: DatabaseSync;
  readonly #list: Record<'byKey' | 'byId', List>;
  readonly #get: Record<'known' | 'digest' | 'keys' | 'links', Statement>;
  readonly #run: Record<'record' | 'results' | 'remember' | 'key' | 'link' | 'touch' | 'digest', Statement>;

  readonly #reached: ReachedTable;

  /** Opens (or makes) `cache.db` in a folder. Several processes may have it open. */
  constructor(folder: string) {
    const file = join(folder, 'cache.db');
    const name: DatabaseName = { hop: 'cache', name: 'the cache records', file };
    const db = openDatabase(name, schema);
    this.#name = name;
    this.#db = db;
    this.#reached = new ReachedTable(name, db);
    this.#list = {
      byKey: prepareList(
        name,
        db,
        `SELECT ${recordColumns} FROM keys k JOIN records r ON r.id = k.record WHERE k.key = ?`,
      ),
      byId: prepareList(name, db, `SELECT ${recordColumns} FROM records WHERE id = ?`),
    };
    this.#get = {
      known: prepare(name, db, 'SELECT 1 FROM records WHERE id = ?'),
      digest: prepare(name, db, 'SELECT digest FROM content_digests WHERE ref = ? AND selector = ?'),
      keys: prepare(name, db, 'SELECT key, kind, op FROM keys WHERE record = ?'),
      links: prepare(name, db, 'SELECT * FROM links WHERE key = ? ORDER BY input'),
    };
    this.#run = {
      record: prepare(
        name,
        db,
        `INSERT INTO records (id, description, type, owner, made_for, results, size, created_at, last_used_at, usage_count)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
         ON CONFLICT (id) DO UPDATE SET description = excluded.description, type = excluded.type,
           owner = excluded.owner, made_for = excluded.made_for, results = excluded.results, size = excluded.size, last_used_at = excluded.last_used_at`,
      ),
      results: prepare(
        name,
        db,
        'UPDATE records SET results = ?, size = ? WHERE id = ? AND results IS NOT NULL',
      ),
      remember: prepare(
        name,
        db,
        `INSERT OR IGNORE INTO records
           (id, description, type, owner, results, size, created_at, last_used_at, usage_count)
         VALUES (?, ?, ?, ?, NULL, 0, ?, ?, 0)`,
      ),
      key: prepare(name, db, 'INSERT OR REPLACE INTO keys (key, record, kind, op) VALUES (?, ?, ?, ?)'),
      link: prepare(
        name,
        db,
        'INSERT OR REPLACE INTO links (key, input, dep, dep_index, selector, content) VALUES (?, ?, ?, ?, ?, ?)',
      ),
      touch: prepare(
        name,
        db,
        'UPDATE records SET last_used_at = ?, usage_count = usage_count + 1 WHERE id = ?',
      ),
      digest: prepare(
        name,
        db,
        'INSERT OR REPLACE INTO content_digests (ref, selector, digest) VALUES (?, ?, ?)',
      ),
    };
  }

  /** The record that a key leads to. */
  byKey(key: Digest): CacheRecord | undefined {
    return this.#list.byKey(key).map(toRecord)[0];
  }

  byId(id: Digest): CacheRecord | undefined {
    return this.#list.byId(id).map(toRecord)[0];
  }

  /** Whether any key may be made with this id. If not, nothing built on it can be a hit. */
  known(id: Digest): boolean {
    return this.#get.known.get(id) !== undefined;
  }

  /**
   * Stores a record with the keys that lead to it, in one transaction. `reached`: what its step has asked for by the proxy
   * of its network.
   */
  save(
    record: Pick<CacheRecord, 'id' | 'description' | 'type' | 'owner' | 'madeFor' | 'results' | 'size'> & {
      reached?: NetworkUse;
    },
    keys: readonly { key: Digest; parts: KeyParts }[],
  ): void {
    const now = Date.now();
    transaction(this.#name, this.#db, () => {
      const { id, description, type, owner = null, madeFor, size } = record;
      const made = madeFor === undefined ? null : JSON.stringify(madeFor);
      const results = record.results === undefined ? null : JSON.stringify(record.results);
      this.#keep(id);
      this.#run.record.run(id, description, type, owner, made, results, size, now, now);
      this.#reached.put(id, record.reached);
      for (const { key, parts } of keys) this.#putKey(key, record.id, parts);
    });
  }

  /** Replaces the results of a record that has some; false when it has none (any more). */
  putResults(id: Digest, results: readonly SerializedRef[], size: number): boolean {
    return this.#run.results.run(JSON.stringify(results), size, id).changes > 0;
  }

  /** Makes an id known before keys are made with it. An id that is known already stays as it is. */
  remember(
    record: Pick<CacheRecord, 'id' | 'description' | 'type' | 'owner'>,
    keys: CacheEntry['keys'],
  ): void {
    const now = Date.now();
    transaction(this.#name, this.#db, () => {
      const { id, description, type, owner = null } = record;
      this.#keep(id);
      if (this.#run.remember.run(id, description, type, owner, now, now).changes === 0) return;
      for (const { key, parts } of keys) this.#putKey(key, id, parts);
    });
  }

  /** Adds one more key to a record. */
  alias(key: Digest, id: Digest, parts: KeyParts): void {
    transaction(this.#name, this.#db, () => this.#putKey(key, id, parts));
  }

  #putKey(key: Digest, id: Digest, parts: KeyParts): void {
    this.#keep(id, ...parts.deps.map((dep) => dep.id));
    this.#run.key.run(key, id, parts.kind, parts.op);
    for (const [input, dep] of parts.deps.entries()) {
      this.#run.link.run(key, input, dep.id, dep.index, dep.selector, dep.content ? 1 : 0);
    }
  }

  #keep(...ids: Digest[]): void {
    for (const named of this.#listeners) named.push(...ids);
  }

  /** Notes that a record was used now. */
  touch(id: Digest): void {
    this.#run.touch.run(Date.now(), id);
  }

  /** The remembered content digest of a part of an immutable ref. */
  contentDigest(ref: string, selector: string): Digest | undefined {
    return this.#get.digest.get(ref, selector)?.digest as Digest | undefined;
  }

  putContentDigest(ref: string, selector: string, digest: Digest): void {
    this.#run.digest.run(ref, selector, digest);
  }

  /** What the step of a record has asked for by the proxy of its network, but not the list of all its requests. */
  reached(id: Digest): NetworkUse | undefined {
    return this.#reached.get(id);
  }

  /** All records that hold a result, least recently used first. */
  list(): CacheRecord[] {
    return [...this.pages()].flat();
  }

  /**
   * The same records, some hundred at a time. Records that come, go or are used meanwhile may be in it or not; none is
   * in it twice.
   */
  *pages(): Generator<CacheRecord[], void> {
    const page = prepareList(
      this.#name,
      this.#db,
      `SELECT ${recordColumns} FROM records WHERE results IS NOT NULL AND (last_used_at, n) > (?, ?) AND last_used_at <= ?
       ORDER BY last_used_at, n LIMIT ?`,
    );
    const newest = prepare(
      this.#name,
      this.#db,
      'SELECT max(last_used_at) AS n FROM records WHERE results IS NOT NULL',
    );
    // What is used from now on moves to the end, behind this one.
    const until = Math.max(Date.now() - 1, Number(newest.get()?.n ?? 0));
    for (let time = Number.MIN_SAFE_INTEGER, n = 0; ; ) {
      const rows = page(time, n, until, pageRows);
      if (rows.length > 0) yield rows.map(toRecord);
      const last = rows.at(-1);
      if (last === undefined || rows.length < pageRows) return;
      [n, time] = [Number(last[0]), Number(last[1])];
    }
  }

  /** All keys that lead to a record. */
  keysOf(id: Digest): CacheEntry['keys'] {
    return this.#get.keys.all(id).map(({ key, kind, op }) => ({
      key: key as Digest,
      parts: {
        kind: kind as KeyParts['kind'],
        op: op as Digest,
        deps: this.#get.links.all(String(key)).map((link) => ({
          id: link.dep as Digest,
          index: Number(link.dep_index),
          selector: String(link.selector),
          content: link.content === 1,
        })),
      },
    }));
  }

  /** All records and identities (without a result), least recently used first. */
  entries(): CacheEntry[] {
    const all = `SELECT ${recordColumns} FROM records ORDER BY last_used_at`;
    return prepareList(this.#name, this.#db, all)().map((row) => {
      const record = toRecord(row);
      return { record, keys: this.keysOf(record.id) };
    });
  }

  /** Bytes of all results; of the owner's and everybody's only, when an owner is given. */
  totalSize(owner?: string): number {
    const row =
      owner === undefined
        ? prepare(this.#name, this.#db, 'SELECT size AS n FROM total').get()
        : prepare(
            this.#name,
            this.#db,
            'SELECT sum(size) AS n FROM records WHERE results IS NOT NULL AND (owner IS NULL OR owner = ?)',
          ).get(owner);
    return Number(row?.n ?? 0);
  }

  /** How many records have a result, and how many are only named by others. */
  counts(): { live: number; bare: number } {
    const row = prepare(this.#name, this.#db, 'SELECT live, bare FROM total').get();
    return { live: Number(row?.live ?? 0), bare: Number(row?.bare ?? 0) };
  }

  /** Drops the results of a few records; `prune` forgets the rest of them later. */
  drop(ids: readonly Digest[]): void {
    transaction(this.#name, this.#db, () => {
      const drop = prepare(this.#name, this.#db, 'UPDATE records SET results = NULL, size = 0 WHERE id = ?');
      for (const id of ids) drop.run(id);
    });
  }

  /** Drops the results of records, then forgets identities and keys that no result is built on any more. */
  prune(ids: readonly Digest[]): void {
    this.drop(ids);
    const work = this.forgetting();
    while (!work.next().done);
  }

  /**
   * Forgets identities and keys that no result is built on any more, and yields while it works. An identity is kept
   * while a key of a live record names it, directly or through other identities.
   */
  *forgetting(): Generator<void, void> {
    const named: Digest[] = [];
    this.#listeners.add(named);
    try {
      yield* forgetUnnamed(this.#name, this.#db, named);
    } finally {
      this.#listeners.delete(named);
    }
  }

  /** Forgets the content digests of refs that are gone. */
  forgetDigests(isAlive: (ref: string) => boolean): void {
    const remove = prepare(this.#name, this.#db, 'DELETE FROM content_digests WHERE ref = ?');
    transaction(this.#name, this.#db, () => {
      for (const row of prepare(this.#name, this.#db, 'SELECT DISTINCT ref FROM content_digests').all()) {
        if (!isAlive(String(row.ref))) remove.run(String(row.ref));
      }
    });
  }

  close(): void {
    this.#db.close();
  }
}
