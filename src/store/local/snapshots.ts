import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from '../../errors/index.ts';
import type { Mount } from '../../fs/index.ts';
import { lazyFolder } from '../../lazy/index.ts';
import type { Digest } from '../../oci/index.ts';
import { isDue, nextTurn, runTask } from '../../workers/index.ts';
import { gcLabels, type SnapshotInfo, type Snapshots, snapshotLabels } from '../store.ts';
import { mergeLabels, parseLabels, type Row } from './db.ts';
import { layerFolder } from './layout.ts';
import { forgetLayer } from './mend.ts';
import { bind, type MountPlaces, overlayMounts, type StackLayer } from './mounts.ts';
import { clearOrphan, fillFolder, makeFolder } from './new-layer.ts';
import {
  deleteLease,
  dropSnapshot,
  hold,
  insertLease,
  type LocalParts,
  layerUsage,
  setRefs,
  trashLayers,
} from './shared.ts';

/** Mounts, and whether folders of lazy layers are among them. */
interface ToMount {
  mounts: Mount[];
  isLazy: boolean;
}

const insertSnapshot =
  'INSERT INTO snapshots (key, parent, layer, run, chain, labels, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)';

export class LocalSnapshots implements Snapshots {
  readonly #shared: LocalParts;
  readonly #places: MountPlaces;
  readonly #measuring = new Map<number, Promise<{ size: number; inodes: number }>>();
  #views = 0;
  /** Only where layers can be shared: a native layer holds its parents' files too. */
  readonly restack?: Snapshots['restack'];

  constructor(shared: LocalParts, places: MountPlaces) {
    this.#shared = shared;
    this.#places = places;
    if (shared.snapshotter === 'overlayfs') this.restack = (...args) => this.#restack(...args);
  }

  async stat(key: string): Promise<SnapshotInfo | undefined> {
    return toInfo(this.#shared.db.get('SELECT * FROM snapshots WHERE key = ?', key));
  }

  async chain(key: string): Promise<SnapshotInfo[]> {
    return this.#shared.db
      .all(
        `WITH RECURSIVE stack (depth, at) AS (
           SELECT 0, ?
           UNION ALL
           SELECT depth + 1, s.parent FROM stack JOIN snapshots s ON s.key = stack.at WHERE s.parent IS NOT NULL
         )
         SELECT s.* FROM stack JOIN snapshots s ON s.key = stack.at ORDER BY depth DESC`,
        key,
      )
      .map((row) => toInfo(row))
      .filter((info) => info !== undefined);
  }

  /**
   * Makes an active snapshot. Throws `exists` when the key is taken, `not-found` when the parent or lease is missing,
   * `conflict` when the parent is still active.
   */
  async prepare(key: string, parent: string | undefined, options: { lease: string }): Promise<Mount[]> {
    if (this.#shared.snapshotter === 'native' && parent !== undefined) {
      await this.#prepareCopy(key, parent, options.lease);
      return this.#mounts(key, true).mounts;
    }
    let made: number | undefined;
    const make = () => {
      const below = this.#checkNew(key, parent);
      const layer = this.#insertActive(key, parent, options.lease);
      const folder = makeFolder(this.#shared, layer);
      made = layer;
      fillFolder(this.#shared, folder, below);
      return this.#mounts(key, true);
    };
    let toMount: ToMount;
    try {
      toMount = this.#shared.db.write(make);
    } catch (err) {
      if (made !== undefined) clearOrphan(this.#shared, made);
      throw err;
    }
    try {
      return await this.#served(toMount);
    } catch (err) {
      await this.remove(key);
      throw err;
    }
  }

  /** Copies the parent's tree to a folder beside, then makes it the snapshot in one step. */
  async #prepareCopy(key: string, parent: string, lease: string): Promise<void> {
    const { db, run, layout, trash } = this.#shared;
    const name = `copy-${run.id}-${++this.#views}`;
    const beside = join(run.dir, name);
    let made: number | undefined;
    const source = db.write(() => {
      const below = this.#checkNew(key, parent);
      insertLease(db, name, { run: run.id, view: true });
      hold(db, name, 'snapshot', parent);
      return join(layerFolder(layout, below!), 'fs');
    });
    try {
      mkdirSync(join(beside, 'fs'), { recursive: true, mode: 0o700 });
      await runTask('store.copy', { from: source, to: join(beside, 'fs') });
      db.write(() => {
        this.#checkNew(key, parent);
        const layer = this.#insertActive(key, parent, lease);
        const folder = makeFolder(this.#shared, layer);
        made = layer;
        renameSync(beside, folder);
        deleteLease(db, name);
      });
    } catch (err) {
      db.free(() => deleteLease(db, name));
      if (made !== undefined) clearOrphan(this.#shared, made);
      trash.take(beside);
      trash.empty();
      throw err;
    }
  }

  /** Checks that a key is free and its parent committed; returns the parent's layer. */
  #checkNew(key: string, parent: string | undefined): number | undefined {
    const { db } = this.#shared;
    if (db.get('SELECT 1 FROM snapshots WHERE key = ?', key) !== undefined) throw taken(key);
    return parent === undefined ? undefined : this.#committed(parent).layer;
  }

  #committed(key: string): { layer: number; labels: Record<string, string>; createdAt: number } {
    const row = this.#shared.db.get(
      'SELECT layer, run, labels, created_at FROM snapshots WHERE key = ?',
      key,
    );
    if (row === undefined) throw missing(key);
    if (row.run !== null) {
      throw fail('conflict', 'store', `the snapshot ${JSON.stringify(key)} is not committed yet`);
    }
    return {
      layer: Number(row.layer),
      labels: parseLabels(row.labels),
      createdAt: Number(row.created_at),
    };
  }

  #insertActive(key: string, parent: string | undefined, lease: string): number {
    const { db, run } = this.#shared;
    const layer = db.run('INSERT INTO layers DEFAULT VALUES').rowId;
    db.run(insertSnapshot, key, parent ?? null, layer, run.id, null, '{}', Date.now());
    hold(db, lease, 'snapshot', key);
    return layer;
  }

  async mounts(key: string): Promise<Mount[]> {
    const row = this.#shared.db.get('SELECT run FROM snapshots WHERE key = ?', key);
    if (row === undefined) throw missing(key);
    if (row.run === null) {
      throw fail('conflict', 'store', `the snapshot ${JSON.stringify(key)} is committed`, {
        hint: 'Use a view, or prepare a new snapshot on it.',
      });
    }
    return this.#served(this.#mounts(key, true));
  }

  /** The layers of a snapshot and all below it, topmost first. */
  #stack(key: string): StackLayer[] {
    return this.#shared.db
      .all(
        `WITH RECURSIVE stack (depth, layer, parent) AS (
           SELECT 0, layer, parent FROM snapshots WHERE key = ?
           UNION ALL
           SELECT depth + 1, s.layer, s.parent FROM stack JOIN snapshots s ON s.key = stack.parent
         )
         SELECT layer, lazy FROM stack JOIN layers ON layers.id = stack.layer ORDER BY depth`,
        key,
      )
      .map((row) => ({ id: Number(row.layer), lazy: row.lazy === 1 }));
  }

  #mounts(key: string, writable: boolean): ToMount {
    const layers = this.#stack(key);
    if (this.#shared.snapshotter === 'overlayfs') {
      const isLazy = layers.some(({ lazy }) => lazy);
      return { mounts: overlayMounts({ layers, writable }, this.#places), isLazy };
    }
    return {
      mounts: [bind(join(layerFolder(this.#shared.layout, layers[0]!.id), 'fs'), writable)],
      isLazy: false,
    };
  }

  /** The mounts, when their folders are there: those of lazy layers are mounted when they are first needed. */
  async #served({ mounts, isLazy }: ToMount): Promise<Mount[]> {
    if (isLazy) await this.#shared.lazyFiles.ready();
    return mounts;
  }

  async view(
    key: string,
    options: { kept?: boolean } = {},
  ): Promise<{ mounts: Mount[]; release(): Promise<void> }> {
    const { db, run } = this.#shared;
    if (options.kept === true) {
      this.#committed(key);
      return { mounts: await this.#served(this.#mounts(key, false)), release: async () => {} };
    }
    const lease = `view-${run.id}-${++this.#views}`;
    const toMount = db.write(() => {
      this.#committed(key);
      insertLease(db, lease, { run: run.id, view: true });
      hold(db, lease, 'snapshot', key);
      return this.#mounts(key, false);
    });
    const release = async () => db.free(() => deleteLease(db, lease));
    try {
      return { mounts: await this.#served(toMount), release };
    } catch (err) {
      await release();
      throw err;
    }
  }

  async commit(
    name: string,
    activeKey: string,
    options: { lease: string; labels?: Record<string, string> },
  ): Promise<void> {
    const { db } = this.#shared;
    const done = db.write(() => {
      const active = db.get('SELECT run, labels FROM snapshots WHERE key = ?', activeKey);
      if (active === undefined) throw missing(activeKey);
      if (active.run === null) {
        throw fail('conflict', 'store', `the snapshot ${JSON.stringify(activeKey)} is already committed`);
      }
      if (name !== activeKey && db.get('SELECT 1 FROM snapshots WHERE key = ?', name) !== undefined) {
        // The caller will use the committed one; from here on nobody can collect it.
        hold(db, options.lease, 'snapshot', name);
        return false;
      }
      const labels = { ...parseLabels(active.labels), ...options.labels };
      db.run(
        'UPDATE snapshots SET key = ?, run = NULL, chain = ?, labels = ? WHERE key = ?',
        name,
        labels[snapshotLabels.chainId] ?? null,
        JSON.stringify(labels),
        activeKey,
      );
      db.run(`DELETE FROM held WHERE type = 'snapshot' AND id = ?`, activeKey);
      this.#updateRefs(activeKey, name, parseLabels(active.labels), labels);
      hold(db, options.lease, 'snapshot', name);
      return true;
    });
    if (!done) throw taken(name);
  }

  /** Labels of snapshots seldom refer to anything; then there is nothing to write. */
  #updateRefs(oldKey: string, key: string, old: Record<string, string>, labels: Record<string, string>) {
    const refers = (names: Record<string, string>) =>
      Object.keys(names).some(
        (name) => name.startsWith(gcLabels.content) || name.startsWith(gcLabels.snapshot),
      );
    if (refers(old)) setRefs(this.#shared, 'snapshot', oldKey, {});
    if (refers(labels)) setRefs(this.#shared, 'snapshot', key, labels);
  }

  async #restack(
    name: string,
    source: string,
    parent: string | undefined,
    options: { lease: string },
  ): Promise<void> {
    const { db } = this.#shared;
    const done = db.write(() => {
      if (db.get('SELECT 1 FROM snapshots WHERE key = ?', name) !== undefined) {
        hold(db, options.lease, 'snapshot', name);
        return false;
      }
      const { layer, labels, createdAt } = this.#committed(source);
      this.#checkNew(name, parent);
      labels[snapshotLabels.madeAt] ??= String(createdAt);
      labels[snapshotLabels.layerOf] ??= source;
      // Labels about the layer stay true; the label about the old stack does not.
      delete labels[snapshotLabels.chainId];
      db.run(insertSnapshot, name, parent ?? null, layer, null, null, JSON.stringify(labels), Date.now());
      this.#updateRefs(name, name, {}, labels);
      hold(db, options.lease, 'snapshot', name);
      return true;
    });
    if (!done) throw taken(name);
  }

  async intact(key: string): Promise<boolean> {
    const { db, layout, trash } = this.#shared;
    const stack = this.#stack(key);
    const gone = stack.filter(({ id }) => !existsSync(join(layerFolder(layout, id), 'fs')));
    if (gone.length === 0) return stack.length > 0;
    db.free(() => {
      for (const { id } of gone) forgetLayer(this.#shared, id);
    });
    trash.empty();
    return false;
  }

  async byChain(chain: Digest): Promise<SnapshotInfo | undefined> {
    const { db } = this.#shared;
    return toInfo(db.get('SELECT * FROM snapshots WHERE chain = ? AND run IS NULL LIMIT 1', chain));
  }

  async setLabels(key: string, labels: Record<string, string | undefined>): Promise<void> {
    const { db } = this.#shared;
    db.write(() => {
      const row = db.get('SELECT labels FROM snapshots WHERE key = ?', key);
      if (row === undefined) throw missing(key);
      const old = parseLabels(row.labels);
      const all = mergeLabels(old, labels);
      const chain = all[snapshotLabels.chainId] ?? null;
      db.run('UPDATE snapshots SET labels = ?, chain = ? WHERE key = ?', JSON.stringify(all), chain, key);
      this.#updateRefs(key, key, old, all);
    });
  }

  async usage(key: string): Promise<{ size: number; inodes: number }> {
    const { db, layout } = this.#shared;
    const row = db.get(
      'SELECT l.id, l.size, l.inodes, l.lazy, s.run FROM snapshots s JOIN layers l ON l.id = s.layer WHERE s.key = ?',
      key,
    );
    if (row === undefined) throw missing(key);
    if (row.size !== null) return { size: Number(row.size), inodes: Number(row.inodes) };
    const id = Number(row.id);
    // What is still being written, or fetched, is measured anew each time.
    if (row.run !== null || row.lazy === 1) return layerUsage(layout, id);
    let measuring = this.#measuring.get(id);
    if (measuring === undefined) {
      measuring = layerUsage(layout, id)
        .then((usage) => {
          db.run('UPDATE layers SET size = ?, inodes = ? WHERE id = ?', usage.size, usage.inodes, id);
          return usage;
        })
        .finally(() => this.#measuring.delete(id));
      this.#measuring.set(id, measuring);
    }
    return measuring;
  }

  async list(): Promise<SnapshotInfo[]> {
    const rows = await this.#shared.db.rows('snapshots', 'key');
    rows.sort((a, b) => Number(a.created_at) - Number(b.created_at) || Number(a.layer) - Number(b.layer));
    const infos: SnapshotInfo[] = [];
    for (const row of rows) {
      if (isDue()) await nextTurn();
      const info = toInfo(row);
      if (info !== undefined) infos.push(info);
    }
    return infos;
  }

  /**
   * Makes the layer of an active snapshot a lazy one, and returns the folder for its table (`LayerTableWriter`), which
   * does not exist yet. Its files are to be written through the mounts, without their contents.
   */
  beginLazy(key: string): string {
    const { db, layout } = this.#shared;
    const row = db.get('SELECT layer FROM snapshots WHERE key = ? AND run IS NOT NULL', key);
    if (row === undefined) throw missing(key);
    db.run('UPDATE layers SET lazy = 1 WHERE id = ?', Number(row.layer));
    return join(layerFolder(layout, Number(row.layer)), lazyFolder);
  }

  /** Removes a snapshot. Throws `not-found`, and `conflict` while any process has a child or an open view of it. */
  async remove(key: string): Promise<void> {
    const { db } = this.#shared;
    const layer = db.free(() => {
      if (db.get('SELECT 1 FROM snapshots WHERE key = ?', key) === undefined) throw missing(key);
      const child = db.get('SELECT key FROM snapshots WHERE parent = ? LIMIT 1', key);
      if (child !== undefined) {
        throw fail('conflict', 'store', `the snapshot ${key} has children (${String(child.key)})`);
      }
      const view = db.get(
        `SELECT 1 FROM held h JOIN leases l ON l.id = h.lease
         WHERE h.type = 'snapshot' AND h.id = ? AND l.view = 1 LIMIT 1`,
        key,
      );
      if (view !== undefined) throw fail('conflict', 'store', `the snapshot ${key} is being read`);
      return dropSnapshot(db, key);
    });
    if (layer !== undefined) trashLayers(this.#shared, [layer]);
  }
}

function missing(key: string) {
  return fail('not-found', 'store', `there is no snapshot ${JSON.stringify(key)}`);
}

function taken(key: string) {
  return fail('exists', 'store', `there is a snapshot ${JSON.stringify(key)} already`);
}

function toInfo(row: Row | undefined): SnapshotInfo | undefined {
  if (row === undefined) return undefined;
  return {
    key: String(row.key),
    parent: row.parent === null ? undefined : String(row.parent),
    kind: row.run === null ? 'committed' : 'active',
    labels: parseLabels(row.labels),
    createdAt: Number(row.created_at),
  };
}
