/** Finds the folders of containerd's snapshots on this host. */
import { existsSync } from 'node:fs';
import { Code } from '@connectrpc/connect';
import { DrydockError } from '../../errors/index.ts';
import type { Mount } from '../../fs/index.ts';
import { Kind } from '../../pb/containerd/snapshots_pb.js';
import { hasCode } from './errors.ts';
import type { KnownSnapshots } from './known-snapshots.ts';
import { pastLeftover } from './leftover.ts';
import { type Folders, foldersOf, readOnly, toMounts } from './mounts.ts';
import { type ContainerdParts, millis } from './shared.ts';
import { missing, notCommitted, type SnapshotQueries } from './snapshot-queries.ts';
import type { Views } from './views.ts';

/** Answers for the folders of snapshots, asking containerd only about those it has not seen. */
export class SnapshotFolders {
  readonly #shared: ContainerdParts;
  readonly #views: Views;
  readonly #queries: SnapshotQueries;
  readonly #known: KnownSnapshots;
  #looks = 0;

  constructor(shared: ContainerdParts, views: Views, queries: SnapshotQueries, known: KnownSnapshots) {
    this.#shared = shared;
    this.#views = views;
    this.#queries = queries;
    this.#known = known;
  }

  /** The mounts of an active snapshot or a view. Throws `not-found`. */
  async mounts(key: string): Promise<Mount[]> {
    const { connection, snapshotter } = this.#shared;
    const found = await connection.find(`mounting the snapshot ${key}`, (call) =>
      connection.snapshots.mounts({ snapshotter, key }, call),
    );
    if (found === undefined) throw missing(key);
    return toMounts(found.mounts, snapshotter);
  }

  /**
   * Holds the snapshot and returns its folders, for which containerd is asked once. Releasing may take effect a little
   * later, but before this process collects or removes anything.
   */
  async view(
    key: string,
    options: { kept?: boolean } = {},
  ): Promise<{ mounts: Mount[]; release(): Promise<void> }> {
    if (options.kept === true) {
      const mounts = readOnly(await this.folders(key));
      return { mounts, release: async () => {} };
    }
    await this.#views.hold(key);
    try {
      const mounts = readOnly(await this.folders(key));
      let open = true;
      return {
        mounts,
        release: async () => {
          if (open) this.#views.release(key);
          open = false;
        },
      };
    } catch (err) {
      this.#views.release(key);
      await this.#views.flush(key).catch(() => {});
      throw err;
    }
  }

  /** The folders of a committed snapshot that the caller holds. Throws `not-found`, `conflict`. */
  async folders(key: string): Promise<Folders> {
    return (await this.committed(key)).folders;
  }

  /** The known facts about a committed snapshot that the caller holds. Throws as `folders` does. */
  async committed(
    key: string,
  ): Promise<{ folders: Folders; labels: Record<string, string>; createdAt: number }> {
    const info = await this.#queries.info(key);
    if (info === undefined || info.kind === Kind.VIEW) throw missing(key);
    if (info.kind !== Kind.COMMITTED) throw notCommitted(key);
    const { labels, createdAt } = info;
    const known = this.#known.of(info);
    known.folders ??= await this.#look(key);
    return { folders: known.folders, labels, createdAt: millis(createdAt) };
  }

  /** Asks containerd for the folders, through a short-lived view. */
  async #look(parent: string): Promise<Folders> {
    const { connection, snapshotter, run } = this.#shared;
    const key = `drydock-view-${run.id}-${++this.#looks}`;
    const lease = await this.#views.lease();
    const what = `viewing the snapshot ${JSON.stringify(parent)}`;
    try {
      const { mounts } = await connection.raw({ again: true, lease }, (call) =>
        pastLeftover(() => connection.snapshots.view({ snapshotter, key, parent }, call)),
      );
      return foldersOf(toMounts(mounts, snapshotter));
    } catch (err) {
      if (hasCode(err, Code.AlreadyExists)) return foldersOf(await this.mounts(key));
      if (hasCode(err, Code.NotFound)) throw missing(parent);
      throw connection.failure(err, what);
    } finally {
      await connection
        .raw({ again: true, lease }, (call) => connection.snapshots.remove({ snapshotter, key }, call))
        .catch(() => {}); // it goes with the lease
    }
  }

  async intact(key: string): Promise<boolean> {
    const whole = ({ dirs }: Folders) => dirs.every((dir) => existsSync(dir));
    const seen = this.#known.last(key)?.folders;
    if (seen !== undefined && whole(seen)) return true;
    let folders: Folders;
    try {
      folders = await this.folders(key);
    } catch (err) {
      if (err instanceof DrydockError && (err.code === 'not-found' || err.code === 'conflict')) return false;
      throw err;
    }
    if (whole(folders)) return true;
    // Topmost first, like the folders. A native snapshot has one folder with everything in it.
    const chain: string[] = [];
    for (let at: string | undefined = key; at !== undefined && chain.length < folders.dirs.length; ) {
      chain.push(at);
      at = (await this.#queries.stat(at))?.parent;
    }
    const lowest = folders.dirs.findLastIndex((dir) => !existsSync(dir));
    await this.#forget(chain[lowest] ?? key);
    return false;
  }

  /** Removes a snapshot and all that stand on it (views too), whatever holds them. */
  async #forget(key: string): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const all = await this.#queries.infos();
    const fallen = [key];
    for (const parent of fallen) {
      fallen.push(...all.filter((info) => info.parent === parent).map((info) => info.name));
    }
    for (const each of fallen.reverse()) {
      await connection.find(`forgetting the snapshot ${each}, whose folder or one below is gone`, (call) =>
        connection.snapshots.remove({ snapshotter, key: each }, call),
      );
      this.#known.forget(each);
    }
  }
}
