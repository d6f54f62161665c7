import { fail } from '../../errors/index.ts';
import type { Descriptor, Digest } from '../../oci/index.ts';
import { isDue, nextTurn } from '../../workers/index.ts';
import type { ImageRecord, Images } from '../store.ts';
import { parseLabels, type Row } from './db.ts';
import { type LocalParts, setRefs } from './shared.ts';

export class LocalImages implements Images {
  readonly #shared: LocalParts;

  constructor(shared: LocalParts) {
    this.#shared = shared;
  }

  async get(name: string): Promise<ImageRecord | undefined> {
    const row = this.#shared.db.get('SELECT * FROM images WHERE name = ?', name);
    return row && toImage(row);
  }

  async list(): Promise<ImageRecord[]> {
    return this.#records(await this.#shared.db.rows('images', 'name'));
  }

  async of(target: Digest): Promise<ImageRecord[]> {
    return this.#records(await this.#shared.db.rows('images', 'name', { column: 'target', is: target }));
  }

  async #records(rows: readonly Row[]): Promise<ImageRecord[]> {
    const records: ImageRecord[] = [];
    for (const row of rows) {
      if (isDue()) await nextTurn();
      records.push(toImage(row));
    }
    return records;
  }

  /** Creates or moves a name. Throws `not-found` when the target is not in content: a name never points at nothing. */
  async put(name: string, target: Descriptor, labels?: Record<string, string>): Promise<ImageRecord> {
    const record = this.#put(name, target, labels);
    // Earlier files that a power cut may still harm are mended at the next start.
    if (this.#shared.sync) {
      const { syncFilesystem } = await import('../../linux/sync-fs.ts');
      await syncFilesystem(this.#shared.layout.root);
    }
    return record;
  }

  #put(name: string, target: Descriptor, labels?: Record<string, string>): ImageRecord {
    const { db } = this.#shared;
    return db.write(() => {
      if (db.get('SELECT 1 FROM blobs WHERE digest = ?', target.digest) === undefined) {
        throw fail('not-found', 'store', `cannot name ${name}: ${target.digest} is not in the store`);
      }
      const old = db.get('SELECT labels FROM images WHERE name = ?', name);
      const all = labels ?? (old === undefined ? {} : parseLabels(old.labels));
      const now = Date.now();
      db.run(
        `INSERT INTO images (name, target, descriptor, labels, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET target = excluded.target, descriptor = excluded.descriptor,
           labels = excluded.labels, updated_at = excluded.updated_at`,
        name,
        target.digest,
        JSON.stringify(target),
        JSON.stringify(all),
        now,
        now,
      );
      setRefs(this.#shared, 'image', name, all);
      return toImage(db.get('SELECT * FROM images WHERE name = ?', name)!);
    });
  }

  async delete(name: string): Promise<boolean> {
    const { db } = this.#shared;
    return db.free(() => {
      db.run(`DELETE FROM refs WHERE from_type = 'image' AND from_id = ?`, name);
      return db.run('DELETE FROM images WHERE name = ?', name).changes > 0;
    });
  }
}

function toImage(row: Row): ImageRecord {
  return {
    name: String(row.name),
    target: JSON.parse(String(row.descriptor)) as Descriptor,
    labels: parseLabels(row.labels),
    createdAt: Number(row.created_at),
    updatedAt: Number(row.updated_at),
  };
}
