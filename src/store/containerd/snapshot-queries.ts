/** Questions to containerd's snapshotter: single snapshots, the stacks they are in, and snapshots of a chain ID. */
import { fail } from '../../errors/index.ts';
import type { Digest } from '../../oci/index.ts';
import { type Info, Kind } from '../../pb/containerd/snapshots_pb.js';
import { type SnapshotInfo, snapshotLabels } from '../store.ts';
import type { KnownSnapshots } from './known-snapshots.ts';
import { type ContainerdParts, millis } from './shared.ts';

/**
 * The label that tells our active snapshot from another's of the same name, after a connection broke off in the middle.
 */
export const attemptLabel = 'drydock/attempt';

export class SnapshotQueries {
  readonly #shared: ContainerdParts;
  readonly #known: KnownSnapshots;
  /** Chain ID → key, of the stacks seen so far. An entry is checked when it is used. */
  readonly #chains = new Map<Digest, string>();

  constructor(shared: ContainerdParts, known: KnownSnapshots) {
    this.#shared = shared;
    this.#known = known;
  }

  async stat(key: string): Promise<SnapshotInfo | undefined> {
    const info = await this.info(key);
    return info === undefined || info.kind === Kind.VIEW ? undefined : toInfo(info);
  }

  async chain(key: string): Promise<SnapshotInfo[]> {
    let info = await this.info(key);
    if (info === undefined || info.kind === Kind.VIEW) return [];
    const chain = [toInfo(info)];
    while (info.parent !== '') {
      const isCommitted: boolean = info.kind === Kind.COMMITTED;
      let parent: Info | undefined = isCommitted ? this.#known.parentOf(info) : undefined;
      if (parent === undefined) {
        parent = await this.info(info.parent);
        if (parent === undefined) throw missing(info.parent);
        if (isCommitted) this.#known.setParent(info, parent);
      }
      info = parent;
      chain.push(toInfo(info));
    }
    return chain.reverse();
  }

  /** A snapshot or view as containerd describes it; undefined when there is none. */
  async info(key: string): Promise<Info | undefined> {
    const { connection, snapshotter } = this.#shared;
    // containerd takes an empty key for a mistake.
    if (key === '') return undefined;
    const found = await connection.find(`looking for the snapshot ${key}`, (call) =>
      connection.snapshots.stat({ snapshotter, key }, call),
    );
    return found?.info;
  }

  /** A committed snapshot with a chain ID, also one that is named by it, as `ctr` and Docker unpack images. */
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

  /** Notes the key of the stack that has a chain ID. */
  noteChain(labels: Record<string, string | undefined>, key: string): void {
    const chain = labels[snapshotLabels.chainId];
    if (chain !== undefined) this.#chains.set(chain as Digest, key);
  }

  async list(): Promise<SnapshotInfo[]> {
    return (await this.#list()).sort((a, b) => a.createdAt - b.createdAt);
  }

  async #list(filter?: string): Promise<SnapshotInfo[]> {
    return (await this.infos(filter)).filter(({ kind }) => kind !== Kind.VIEW).map(toInfo);
  }

  /** All snapshots and views, or those that match one of containerd's filters. */
  infos(filter?: string): Promise<Info[]> {
    const { connection, snapshotter } = this.#shared;
    const request = { snapshotter, filters: filter === undefined ? [] : [filter] };
    return connection.call('listing snapshots', { again: true }, async (call) => {
      const all: Info[] = [];
      for await (const { info } of connection.snapshots.list(request, call)) all.push(...info);
      return all;
    });
  }
}

export function missing(key: string) {
  return fail('not-found', 'store', `there is no snapshot ${JSON.stringify(key)}`);
}

export function taken(key: string) {
  return fail('exists', 'store', `there is a snapshot ${JSON.stringify(key)} already`);
}

export function notCommitted(key: string) {
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
