import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, lstatSync } from 'node:fs';
import { Code } from '@connectrpc/connect';
import { DrydockError, fail } from '../../errors/error.ts';
import type { Digest } from '../../oci/types.ts';
import { type Info, Kind } from '../../pb/containerd/snapshots_pb.js';
import { runTask } from '../../workers/pool.ts';
import { type Mount, type SnapshotInfo, type Snapshots, snapshotLabels } from '../store.ts';
import { breakOf, hasCode } from './errors.ts';
import { KnownSnapshots, nowNs } from './known-snapshots.ts';
import { noLease } from './lease-names.ts';
import type { ContainerdLeases } from './leases.ts';
import { type Folders, foldersOf, readOnly, toMounts } from './mounts.ts';
import { labelPaths, labelValues, leaseName, millis, type Shared } from './shared.ts';
import type { Views } from './views.ts';

/** Tells an active snapshot that we made from another's of the same name, when a connection broke off in the middle. */
const attemptLabel = 'drydock/attempt';

/** An active snapshot that this process has made. */
interface Active extends Folders {
  /** It has been given labels since. */
  labelled: boolean;
}

/**
 * Snapshots of one of containerd's snapshotters, on this host: their folders are written and read directly. Those
 * made by `ctr` and Docker are found too, by their chain IDs.
 */
export class ContainerdSnapshots implements Snapshots {
  readonly #shared: Shared;
  readonly #leases: ContainerdLeases;
  readonly #views: Views;
  readonly #active = new Map<string, Active>();
  readonly #known = new KnownSnapshots();
  /** Chain ID → key, as far as seen; checked when used. */
  readonly #chains = new Map<Digest, string>();
  #looks = 0;
  /** Only where layers are apart: a native one holds its parents' files too. */
  readonly restack?: Snapshots['restack'];

  constructor(shared: Shared, leases: ContainerdLeases, views: Views) {
    this.#shared = shared;
    this.#leases = leases;
    this.#views = views;
    if (shared.snapshotter !== 'native') this.restack = (...args) => this.#restack(...args);
  }

  async stat(key: string): Promise<SnapshotInfo | undefined> {
    const info = await this.#stat(key);
    return info === undefined || info.kind === Kind.VIEW ? undefined : toInfo(info);
  }

  async chain(key: string): Promise<SnapshotInfo[]> {
    let info = await this.#stat(key);
    if (info === undefined || info.kind === Kind.VIEW) return [];
    const chain = [toInfo(info)];
    while (info.parent !== '') {
      const isCommitted: boolean = info.kind === Kind.COMMITTED;
      let parent: Info | undefined = isCommitted ? this.#known.parentOf(info) : undefined;
      if (parent === undefined) {
        parent = await this.#stat(info.parent);
        if (parent === undefined) throw missing(info.parent);
        if (isCommitted) this.#known.setParent(info, parent);
      }
      info = parent;
      chain.push(toInfo(info));
    }
    return chain.reverse();
  }

  async #stat(key: string): Promise<Info | undefined> {
    const { connection, snapshotter } = this.#shared;
    // containerd takes an empty key for a mistake.
    if (key === '') return undefined;
    const found = await connection.find(`looking for the snapshot ${key}`, (call) =>
      connection.snapshots.stat({ snapshotter, key }, call),
    );
    return found?.info;
  }

  /**
   * Throws `exists` when the key is taken, `not-found` when there is no such parent or lease, `conflict` when the
   * parent is still active.
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
        connection.snapshots.prepare(request, call),
      );
      mounts = toMounts(made.mounts, snapshotter);
    } catch (err) {
      if (hasCode(err, Code.AlreadyExists)) {
        // Ours, when the answer to an earlier try was lost.
        if ((await this.#stat(key))?.labels[attemptLabel] !== attempt) throw taken(key);
        mounts = await this.#mounts(key);
      } else {
        const below = parent === undefined ? undefined : await this.#stat(parent);
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
   * An overlay shows its upper folder's mode as its root's: it is the parent's until changed. (containerd hands
   * down the owner alone.)
   */
  #likeParent({ dirs: [upper, below] }: Folders): void {
    if (upper === undefined || (below === undefined && this.#shared.snapshotter === 'native')) return;
    const mode = below === undefined ? 0o755 : lstatSync(below).mode & 0o7777;
    if ((lstatSync(upper).mode & 0o7777) !== mode) chmodSync(upper, mode);
  }

  async mounts(key: string): Promise<Mount[]> {
    const info = await this.#stat(key);
    if (info === undefined) throw missing(key);
    if (info.kind !== Kind.ACTIVE) {
      throw fail('conflict', 'store', `the snapshot ${JSON.stringify(key)} is committed`, {
        hint: 'Use a view, or prepare a new snapshot on it.',
      });
    }
    return this.#mounts(key);
  }

  async #mounts(key: string): Promise<Mount[]> {
    const { connection, snapshotter } = this.#shared;
    const found = await connection.find(`mounting the snapshot ${key}`, (call) =>
      connection.snapshots.mounts({ snapshotter, key }, call),
    );
    if (found === undefined) throw missing(key);
    return toMounts(found.mounts, snapshotter);
  }

  /**
   * A view is a hold on the snapshot, and its folders: containerd is asked for them once. Releasing may take effect
   * a little later, but before this process collects or removes anything.
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
    return (await this.#committed(key)).folders;
  }

  async #committed(
    key: string,
  ): Promise<{ folders: Folders; labels: Record<string, string>; createdAt: number }> {
    const info = await this.#stat(key);
    if (info === undefined || info.kind === Kind.VIEW) throw missing(key);
    if (info.kind !== Kind.COMMITTED) throw notCommitted(key);
    const { labels, createdAt } = info;
    const known = this.#known.of(info);
    known.folders ??= await this.#look(key);
    return { folders: known.folders, labels, createdAt: millis(createdAt) };
  }

  /** Asks containerd for the folders, by a view of its own for a moment. */
  async #look(parent: string): Promise<Folders> {
    const { connection, snapshotter, run } = this.#shared;
    const key = `drydock-view-${run.id}-${++this.#looks}`;
    const lease = await this.#views.lease();
    const what = `viewing the snapshot ${JSON.stringify(parent)}`;
    try {
      const { mounts } = await connection.raw({ again: true, lease }, (call) =>
        connection.snapshots.view({ snapshotter, key, parent }, call),
      );
      return foldersOf(toMounts(mounts, snapshotter));
    } catch (err) {
      if (hasCode(err, Code.AlreadyExists)) return foldersOf(await this.#mounts(key));
      if (hasCode(err, Code.NotFound)) throw missing(parent);
      throw connection.failure(err, what);
    } finally {
      await connection
        .raw({ again: true, lease }, (call) => connection.snapshots.remove({ snapshotter, key }, call))
        .catch(() => {}); // it goes with the lease
    }
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
      const active = await this.#stat(activeKey);
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
    this.#active.delete(activeKey);
    const chain = labels[snapshotLabels.chainId] as Digest | undefined;
    if (chain !== undefined) this.#chains.set(chain, name);
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

  /** Returns when the commit was done, or is done now, after all. */
  async #afterFailure(
    err: unknown,
    name: string,
    key: string,
    options: { lease: string; labels: Record<string, string> },
  ): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const what = `committing the snapshot ${JSON.stringify(name)}`;
    if (breakOf(err) === 'broken') {
      // Only we commit our active snapshot: when it is gone and the name is there, that was us.
      const left = await this.#stat(key);
      if (left === undefined && (await this.#stat(name)) !== undefined) return;
      if (left === undefined) throw connection.failure(err, what);
      const lease = leaseName(this.#shared, options.lease);
      await connection.call(what, { again: false, lease }, (call) =>
        connection.snapshots.commit({ snapshotter, name, key, labels: options.labels }, call),
      );
      return;
    }
    if (hasCode(err, Code.AlreadyExists)) {
      // The caller will use the one that is there; from here on nobody can collect it under them.
      await this.#leases.add(options.lease, { type: 'snapshot', id: name });
      throw taken(name);
    }
    if (hasCode(err, Code.NotFound)) {
      throw (await this.#stat(key)) === undefined ? missing(key) : noLease(options.lease);
    }
    throw connection.failure(err, what);
  }

  /** containerd cannot share a layer: the new one is a folder of its own, with hard links to the same files. */
  async #restack(
    name: string,
    source: string,
    parent: string | undefined,
    options: { lease: string },
  ): Promise<void> {
    const active = `restack-${randomUUID()}`;
    // Held until its files have other names; a lease of the caller's that holds it is as good.
    const held = this.#shared.passing.holds(options.lease, this.#resource(source));
    if (!held) await this.#views.hold(source);
    try {
      const below = await this.#committed(source);
      const from = below.folders.dirs[0];
      const labels = { ...below.labels };
      // What is known of the layer holds; what is known of its old stack does not.
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
    // Topmost first, as the folders are; a native snapshot has one folder, with all in it.
    const chain: string[] = [];
    for (let at: string | undefined = key; at !== undefined && chain.length < folders.dirs.length; ) {
      chain.push(at);
      at = (await this.stat(at))?.parent;
    }
    const lowest = folders.dirs.findLastIndex((dir) => !existsSync(dir));
    await this.#forget(chain[lowest] ?? key);
    return false;
  }

  /** Removes a snapshot and all that stand on it, views too, whatever holds them. */
  async #forget(key: string): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const all = await connection.call('listing snapshots', { again: true }, async (call) => {
      const infos: Info[] = [];
      for await (const { info } of connection.snapshots.list({ snapshotter, filters: [] }, call)) {
        infos.push(...info);
      }
      return infos;
    });
    const fallen = [key];
    for (const parent of fallen) {
      fallen.push(...all.filter((info) => info.parent === parent).map((info) => info.name));
    }
    for (const each of fallen.reverse()) {
      await connection.find(`forgetting the snapshot ${each}, whose folder or one below is gone`, (call) =>
        connection.snapshots.remove({ snapshotter, key: each }, call),
      );
      this.#active.delete(each);
      this.#known.forget(each);
    }
  }

  /** Also a snapshot named by its chain ID, as `ctr` and Docker unpack images. */
  async byChain(chain: Digest): Promise<SnapshotInfo | undefined> {
    const named = await this.stat(chain);
    if (named?.kind === 'committed') return named;
    const seen = this.#chains.get(chain);
    if (seen !== undefined) {
      const info = await this.stat(seen);
      if (info?.kind === 'committed' && info.labels[snapshotLabels.chainId] === chain) return info;
      this.#chains.delete(chain);
    }
    const labelled = await this.#list(
      `labels.${JSON.stringify(snapshotLabels.chainId)}==${JSON.stringify(chain)}`,
    );
    const found = labelled.find((info) => info.kind === 'committed');
    if (found !== undefined) this.#chains.set(chain, found.key);
    return found;
  }

  async setLabels(key: string, labels: Record<string, string | undefined>): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const paths = labelPaths(labels);
    // Without paths containerd would replace everything.
    if (paths.length === 0) {
      if ((await this.#stat(key)) === undefined) throw missing(key);
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
    const chain = labels[snapshotLabels.chainId];
    if (chain !== undefined) this.#chains.set(chain as Digest, key);
  }

  /** As containerd counts, without the layer's root folder itself. On `native` a layer holds its parents' files too. */
  async usage(key: string): Promise<{ size: number; inodes: number }> {
    const { connection, snapshotter } = this.#shared;
    // What has been committed stays as it is; another snapshot under its name would hold the same.
    const measured = this.#known.last(key)?.usage;
    if (measured !== undefined) return measured;
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

  async list(): Promise<SnapshotInfo[]> {
    return (await this.#list()).sort((a, b) => a.createdAt - b.createdAt);
  }

  async #list(filter?: string): Promise<SnapshotInfo[]> {
    const { connection, snapshotter } = this.#shared;
    const request = { snapshotter, filters: filter === undefined ? [] : [filter] };
    return connection.call('listing snapshots', { again: true }, async (call) => {
      const all: SnapshotInfo[] = [];
      for await (const { info } of connection.snapshots.list(request, call)) {
        for (const one of info) if (one.kind !== Kind.VIEW) all.push(toInfo(one));
      }
      return all;
    });
  }

  /** Throws `not-found`; `conflict` while it has children or an open view, in whatever process. */
  async remove(key: string): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const info = await this.#stat(key);
    if (info === undefined) throw missing(key);
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
      // Gone already: by us, before a connection broke off, or by another.
      if (!hasCode(err, Code.NotFound)) throw connection.failure(err, `removing the snapshot ${key}`);
    }
    this.#active.delete(key);
    this.#known.forget(key);
  }
}

function missing(key: string) {
  return fail('not-found', 'store', `there is no snapshot ${JSON.stringify(key)}`);
}

function taken(key: string) {
  return fail('exists', 'store', `there is a snapshot ${JSON.stringify(key)} already`);
}

function notCommitted(key: string) {
  return fail('conflict', 'store', `the snapshot ${JSON.stringify(key)} is not committed yet`);
}

function toInfo({ name, parent, kind, labels, createdAt }: Info): SnapshotInfo {
  const shown = { ...labels };
  delete shown[attemptLabel];
  return {
    key: name,
    parent: parent === '' ? undefined : parent,
    kind: kind === Kind.COMMITTED ? 'committed' : 'active',
    labels: shown,
    createdAt: millis(createdAt),
  };
}
