import { statSync } from 'node:fs';
import { fail } from '../../errors/index.ts';
import type { Digest } from '../../oci/index.ts';
import { isDue, nextTurn } from '../../workers/index.ts';
import type { LeaseOptions, LeaseResource, Leases } from '../store.ts';
import { parseLabels } from './db.ts';
import { blobPath } from './layout.ts';
import { deleteLease, hold, insertLease, type LocalParts } from './shared.ts';

export class LocalLeases implements Leases {
  readonly #shared: LocalParts;

  constructor(shared: LocalParts) {
    this.#shared = shared;
  }

  /**
   * Makes a lease. Making one again that this process has, or a pinned one, is no error; `pinned` pins it. Throws
   * `conflict` when the lease belongs to another living process.
   */
  create(id: string, options: LeaseOptions = {}): Promise<void> {
    return this.#shared.db.together('write', () => {
      this.#create(id, options);
      for (const resource of options.holds ?? []) this.#add(id, resource);
    });
  }

  #create(id: string, options: LeaseOptions): void {
    const { db, run } = this.#shared;
    const row = db.get('SELECT run, labels FROM leases WHERE id = ?', id);
    if (row === undefined) {
      insertLease(db, id, { run: options.pinned ? null : run.id, view: false, labels: options.labels });
      return;
    }
    if (row.run !== null && row.run !== run.id) {
      throw fail('conflict', 'store', `the lease ${JSON.stringify(id)} belongs to another process`);
    }
    const labels = JSON.stringify({ ...parseLabels(row.labels), ...options.labels });
    db.run(
      'UPDATE leases SET run = ?, labels = ? WHERE id = ?',
      options.pinned ? null : row.run!,
      labels,
      id,
    );
  }

  /**
   * Puts a thing under a lease. Throws `not-found` when the lease or the thing is missing, or the thing is not whole.
   */
  add(id: string, resource: LeaseResource): Promise<void> {
    return this.#shared.db.together('write', () => this.#add(id, resource));
  }

  /** Puts many things under a lease; see `Leases.addAll`. Throws `not-found` when the lease is missing. */
  addAll(id: string, resources: readonly LeaseResource[]): Promise<boolean[]> {
    const { db } = this.#shared;
    return Promise.all(
      resources.map(async (resource) => {
        let there = false;
        await db.together('write', () => {
          there = this.#isThere(resource);
          if (there) hold(db, id, resource.type, resource.id);
        });
        return there;
      }),
    );
  }

  #isThere(resource: LeaseResource): boolean {
    if (resource.type === 'blob') return hasWholeBlob(this.#shared, resource.id);
    return this.#shared.db.get('SELECT 1 FROM snapshots WHERE key = ?', resource.id) !== undefined;
  }

  #add(id: string, resource: LeaseResource): void {
    const { db } = this.#shared;
    if (!this.#isThere(resource))
      throw fail('not-found', 'store', `there is no ${resource.type} ${resource.id} to keep`);
    hold(db, id, resource.type, resource.id);
  }

  async removeResource(id: string, resource: LeaseResource): Promise<void> {
    this.#shared.db.run(
      'DELETE FROM held WHERE lease = ? AND type = ? AND id = ?',
      id,
      resource.type,
      resource.id,
    );
  }

  async resources(id: string): Promise<LeaseResource[]> {
    return this.#shared.db
      .all('SELECT type, id FROM held WHERE lease = ?', id)
      .map((row) =>
        row.type === 'blob'
          ? { type: 'blob', id: String(row.id) as Digest }
          : { type: 'snapshot', id: String(row.id) },
      );
  }

  /** Deletes a lease; a missing one is no error. Its things stay until the next `gc`. */
  delete(id: string): Promise<void> {
    const { db } = this.#shared;
    return db.together('free', () => deleteLease(db, id));
  }

  async list(only?: {
    pinned: boolean;
  }): Promise<{ id: string; pinned: boolean; labels: Record<string, string> }[]> {
    const { db } = this.#shared;
    // Each cache record has a pinned lease, and only a few leases are not pinned.
    const rows =
      only?.pinned === false
        ? db.all('SELECT * FROM leases WHERE run IS NOT NULL')
        : (await db.rows('leases', 'id')).filter(({ run }) => only === undefined || run === null);
    const leases: { id: string; pinned: boolean; labels: Record<string, string> }[] = [];
    for (const row of rows.sort((a, b) => Number(a.created_at) - Number(b.created_at))) {
      if (isDue()) await nextTurn();
      leases.push({ id: String(row.id), pinned: row.run === null, labels: parseLabels(row.labels) });
    }
    return leases;
  }
}

/** Whether a blob has a row and its file has the right size. */
function hasWholeBlob({ db, layout }: LocalParts, digest: Digest): boolean {
  const row = db.get('SELECT size FROM blobs WHERE digest = ?', digest);
  if (row === undefined) return false;
  return statSync(blobPath(layout, digest), { throwIfNoEntry: false })?.size === Number(row.size);
}
