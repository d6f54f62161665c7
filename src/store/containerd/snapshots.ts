import { randomUUID } from 'node:crypto';
import { chmodSync, lstatSync } from 'node:fs';
import { Code } from '@connectrpc/connect';
import { fail } from '../../errors/index.ts';
import type { Mount } from '../../fs/index.ts';
import type { Digest } from '../../oci/index.ts';
import { Kind } from '../../pb/containerd/snapshots_pb.js';
import { runTask } from '../../workers/index.ts';
import { type SnapshotInfo, type Snapshots, snapshotLabels } from '../store.ts';
import { breakOf, hasCode } from './errors.ts';
import { KnownSnapshots, nowNs } from './known-snapshots.ts';
import { noLease } from './lease-names.ts';
import type { ContainerdLeases } from './leases.ts';
import { pastLeftover } from './leftover.ts';
import { type Folders, foldersOf, toMounts } from './mounts.ts';
import { remoteSnapshotters, takeRemote } from './remote.ts';
import { type ContainerdParts, labelPaths, labelValues, leaseName } from './shared.ts';
import { smallUsage } from './small-usage.ts';
import { SnapshotFolders } from './snapshot-folders.ts';
import { attemptLabel, missing, notCommitted, SnapshotQueries, taken } from './snapshot-queries.ts';
import type { Views } from './views.ts';

/** An active snapshot that this process has made. */
interface Active extends Folders {
  /** Labels were set on it after it was made. */
  labelled: boolean;
}

/**
 * The snapshots of one of containerd's snapshotters on this host. Their folders are written and read directly.
 * Snapshots that `ctr` and Docker made are found by their chain IDs.
 */
export class ContainerdSnapshots implements Snapshots {
  readonly #shared: ContainerdParts;
  readonly #leases: ContainerdLeases;
  readonly #views: Views;
  readonly #active = new Map<string, Active>();
  readonly #known = new KnownSnapshots();
  readonly #queries: SnapshotQueries;
  readonly #folders: SnapshotFolders;
  /** Only where each layer has a folder of its own: a native layer holds its parents' files too. */
  readonly restack?: Snapshots['restack'];
  readonly remote?: Snapshots['remote'];

  constructor(shared: ContainerdParts, leases: ContainerdLeases, views: Views) {
    this.#shared = shared;
    this.#leases = leases;
    this.#views = views;
    this.#queries = new SnapshotQueries(shared, this.#known);
    this.#folders = new SnapshotFolders(shared, views, this.#queries, this.#known);
    // Files that a remote snapshotter serves cannot be linked.
    if (remoteSnapshotters.has(shared.snapshotter)) this.remote = (...args) => this.#remote(...args);
    else if (shared.snapshotter !== 'native') this.restack = (...args) => this.#restack(...args);
  }

  stat(key: string): Promise<SnapshotInfo | undefined> {
    return this.#queries.stat(key);
  }

  chain(key: string): Promise<SnapshotInfo[]> {
    return this.#queries.chain(key);
  }

  byChain(chain: Digest): Promise<SnapshotInfo | undefined> {
    return this.#queries.byChain(chain);
  }

  list(): Promise<SnapshotInfo[]> {
    return this.#queries.list();
  }

  view(key: string, options?: { kept?: boolean }): Promise<{ mounts: Mount[]; release(): Promise<void> }> {
    return this.#folders.view(key, options);
  }

  /** The folders of a committed snapshot that the caller holds. Throws `not-found`, `conflict`. */
  folders(key: string): Promise<Folders> {
    return this.#folders.folders(key);
  }

  intact(key: string): Promise<boolean> {
    return this.#folders.intact(key);
  }

  /**
   * Makes an active snapshot. Throws `exists` when the key is taken, `not-found` when the parent or lease is missing,
   * `conflict` when the parent is still active.
   */
  async prepare(key: string, parent: string | undefined, options: { lease: string }): Promise<Mount[]> {
    const { connection, snapshotter } = this.#shared;
    const lease = leaseName(this.#shared, options.lease);
    const attempt = randomUUID();
    const what = `preparing the snapshot ${JSON.stringify(key)}`;
    const request = { snapshotter, key, parent: parent ?? '', labels: { [attemptLabel]: attempt } };
    let mounts: Mount[];
    try {
      const made = await connection.raw({ again: true, lease }, (call) =>
        pastLeftover(() => connection.snapshots.prepare(request, call)),
      );
      mounts = toMounts(made.mounts, snapshotter);
    } catch (err) {
      if (hasCode(err, Code.AlreadyExists)) {
        // The snapshot is ours when the answer to an earlier try was lost.
        if ((await this.#queries.info(key))?.labels[attemptLabel] !== attempt) throw taken(key);
        mounts = await this.#folders.mounts(key);
      } else {
        const below = parent === undefined ? undefined : await this.#queries.info(parent);
        if (parent !== undefined && below === undefined) throw missing(parent);
        if (below !== undefined && below.kind !== Kind.COMMITTED) throw notCommitted(below.name);
        if (hasCode(err, Code.NotFound)) throw noLease(options.lease);
        throw connection.failure(err, what);
      }
    }
    await this.#took(options.lease, key);
    const folders = foldersOf(mounts);
    this.#likeParent(folders);
    this.#active.set(key, { ...folders, labelled: false });
    return mounts;
  }

  /**
   * Gives the upper folder the mode of the parent's root, since an overlay shows the upper folder's mode as its root's.
   * (containerd hands down the owner alone.)
   */
  #likeParent({ dirs: [upper, below] }: Folders): void {
    if (upper === undefined || (below === undefined && this.#shared.snapshotter === 'native')) return;
    const mode = below === undefined ? 0o755 : lstatSync(below).mode & 0o7777;
    if ((lstatSync(upper).mode & 0o7777) !== mode) chmodSync(upper, mode);
  }

  async mounts(key: string): Promise<Mount[]> {
    const info = await this.#queries.info(key);
    if (info === undefined) throw missing(key);
    if (info.kind !== Kind.ACTIVE) {
      throw fail('conflict', 'store', `the snapshot ${JSON.stringify(key)} is committed`, {
        hint: 'Use a view, or prepare a new snapshot on it.',
      });
    }
    return this.#folders.mounts(key);
  }

  async commit(
    name: string,
    activeKey: string,
    options: { lease: string; labels?: Record<string, string> },
  ): Promise<void> {
    const { connection, snapshotter, passing } = this.#shared;
    const lease = leaseName(this.#shared, options.lease);
    const own = this.#active.get(activeKey);
    const labels: Record<string, string> = { ...options.labels };
    if (own === undefined || own.labelled) {
      const active = await this.#queries.info(activeKey);
      if (active === undefined || active.kind === Kind.VIEW) throw missing(activeKey);
      if (active.kind !== Kind.ACTIVE) {
        throw fail('conflict', 'store', `the snapshot ${JSON.stringify(activeKey)} is already committed`);
      }
      Object.assign(labels, active.labels, options.labels);
      delete labels[attemptLabel];
    }
    const from = nowNs();
    try {
      await connection.raw({ again: false, lease }, (call) =>
        connection.snapshots.commit({ snapshotter, name, key: activeKey, labels }, call),
      );
    } catch (err) {
      await this.#afterFailure(err, name, activeKey, { ...options, labels });
    }
    await this.#took(options.lease, name);
    passing.remove(options.lease, this.#resource(activeKey));
    passing.removed(this.#resource(activeKey));
    this.#active.delete(activeKey);
    this.#queries.noteChain(labels, name);
    if (own === undefined) return;
    this.#known.committed(name, { dirs: own.dirs, options: own.options }, { from, to: nowNs(1) });
  }

  #resource(key: string): { id: string; type: string } {
    return { id: key, type: `snapshots/${this.#shared.snapshotter}` };
  }

  /** Notes a snapshot that was made under a lease. */
  #took(lease: string, key: string): Promise<void> {
    return this.#shared.passing.took(lease, this.#resource(key));
  }

  /** Returns when the commit was done all the same, or could be done now; else throws. */
  async #afterFailure(
    err: unknown,
    name: string,
    key: string,
    options: { lease: string; labels: Record<string, string> },
  ): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const what = `committing the snapshot ${JSON.stringify(name)}`;
    if (breakOf(err) === 'broken') {
      // Only this process commits its active snapshot: when that is gone and the name exists, the commit was done.
      const left = await this.#queries.info(key);
      if (left === undefined && (await this.#queries.info(name)) !== undefined) return;
      if (left === undefined) throw connection.failure(err, what);
      const lease = leaseName(this.#shared, options.lease);
      await connection.call(what, { again: false, lease }, (call) =>
        connection.snapshots.commit({ snapshotter, name, key, labels: options.labels }, call),
      );
      return;
    }
    if (hasCode(err, Code.AlreadyExists)) {
      // The caller will use the committed one; from here on nobody can collect it.
      await this.#leases.add(options.lease, { type: 'snapshot', id: name });
      throw taken(name);
    }
    if (hasCode(err, Code.NotFound)) {
      throw (await this.#queries.info(key)) === undefined ? missing(key) : noLease(options.lease);
    }
    throw connection.failure(err, what);
  }

  /** Makes a new folder with hard links to the same files, since containerd cannot share a layer among snapshots. */
  async #restack(
    name: string,
    source: string,
    parent: string | undefined,
    options: { lease: string },
  ): Promise<void> {
    const active = `restack-${randomUUID()}`;
    // The source is held until its files have other names. A lease of the caller that holds it does as well.
    const held = this.#shared.passing.holds(options.lease, this.#resource(source));
    if (!held) await this.#views.hold(source);
    try {
      const below = await this.#folders.committed(source);
      const from = below.folders.dirs[0];
      const labels = { ...below.labels };
      // Labels about the layer stay true; the label about the old stack does not.
      delete labels[snapshotLabels.chainId];
      labels[snapshotLabels.madeAt] ??= String(below.createdAt);
      labels[snapshotLabels.layerOf] ??= source;
      await this.prepare(active, parent, options);
      const to = this.#active.get(active)?.dirs[0];
      if (from === undefined || to === undefined) {
        throw fail('internal', 'store', `the snapshot ${JSON.stringify(source)} has no folder`);
      }
      await runTask('store.link', { from, to });
      await this.commit(name, active, { ...options, labels });
    } catch (err) {
      if (this.#active.has(active)) await this.remove(active).catch(() => {});
      throw err;
    } finally {
      if (!held) this.#views.release(source);
    }
  }

  async #remote(...[chain, parent, layer, options]: Parameters<NonNullable<Snapshots['remote']>>) {
    const parts = { queries: this.#queries, leases: this.#leases };
    const isServed = await takeRemote(this.#shared, parts, { chain, parent }, layer, options.lease);
    if (isServed) await this.setLabels(chain, options.labels);
    return isServed;
  }

  async setLabels(key: string, labels: Record<string, string | undefined>): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const paths = labelPaths(labels);
    // Without paths containerd would replace all labels.
    if (paths.length === 0) {
      if ((await this.#queries.info(key)) === undefined) throw missing(key);
      return;
    }
    const active = this.#active.get(key);
    if (active !== undefined) active.labelled = true;
    const done = await connection.find(`labelling the snapshot ${key}`, (call) =>
      connection.snapshots.update(
        { snapshotter, info: { name: key, labels: labelValues(labels) }, updateMask: { paths } },
        call,
      ),
    );
    if (done === undefined) throw missing(key);
    this.#known.labelled(key, labels);
    this.#queries.noteChain(labels, key);
  }

  /**
   * Bytes and inodes as containerd counts them, without the layer's root folder. A `native` layer includes its parents'
   * files.
   */
  async usage(key: string): Promise<{ size: number; inodes: number }> {
    const { connection, snapshotter } = this.#shared;
    // A committed snapshot does not change, and another snapshot of its name would hold the same files.
    const committed = this.#known.last(key);
    if (committed?.usage !== undefined) return committed.usage;
    const layer = snapshotter === 'native' ? undefined : committed?.folders?.dirs[0];
    const small = layer === undefined ? undefined : smallUsage(layer);
    if (committed !== undefined && small !== undefined) {
      committed.usage = small;
      return small;
    }
    const found = await connection.find(`measuring the snapshot ${key}`, (call) =>
      connection.snapshots.usage({ snapshotter, key }, call),
    );
    if (found === undefined) throw missing(key);
    const known = this.#known.last(key);
    const root = (known?.folders ?? this.#active.get(key))?.dirs[0];
    const blocks = root === undefined ? undefined : lstatSync(root, { throwIfNoEntry: false })?.blocks;
    const own = blocks === undefined ? 4096 : blocks * 512;
    const usage = {
      size: Math.max(0, Number(found.size) - own),
      inodes: Math.max(0, Number(found.inodes) - 1),
    };
    if (known !== undefined) known.usage = usage;
    return usage;
  }

  /** Removes a snapshot. Throws `not-found`, and `conflict` while any process has a child or an open view of it. */
  async remove(key: string): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const info = await this.#queries.info(key);
    if (info === undefined) {
      this.#active.delete(key);
      throw missing(key);
    }
    if (info.kind === Kind.COMMITTED && (await this.#views.isRead(key))) {
      throw fail('conflict', 'store', `the snapshot ${key} is being read`);
    }
    try {
      await connection.raw({ again: true }, (call) =>
        connection.snapshots.remove({ snapshotter, key }, call),
      );
    } catch (err) {
      if (hasCode(err, Code.FailedPrecondition)) {
        throw fail('conflict', 'store', `the snapshot ${key} has children`, { cause: err });
      }
      // It is gone already, removed by us before a connection broke off or by another process.
      if (!hasCode(err, Code.NotFound)) throw connection.failure(err, `removing the snapshot ${key}`);
    }
    this.#active.delete(key);
    this.#known.forget(key);
    this.#shared.passing.removed(this.#resource(key));
  }
}
