/**
 * A bundle: many things held by one call. Each change of a lease is a synchronous write in containerd and about one
 * thing. But a snapshot's labels can name any number of others, which containerd's collector keeps with it. So a bundle
 * is an empty view under the lease (views are in nobody's lists), and its labels name the things to keep.
 */
import { randomUUID } from 'node:crypto';
import { Code } from '@connectrpc/connect';
import type { Resource } from '../../pb/containerd/leases_pb.js';
import { gcLabels } from '../store.ts';
import { hasCode } from './errors.ts';
import { pastLeftover } from './leftover.ts';
import { type ContainerdParts, labelPaths, labelValues } from './shared.ts';

export type Thing = Pick<Resource, 'id' | 'type'>;

/** The number of things from which a bundle is less work for containerd than a call for each. */
export const worthBundling = 4;

const prefix = 'drydock-bundle-';

export class Bundle {
  readonly #shared: Omit<ContainerdParts, 'passing'>;
  readonly #key: string;
  /** For each thing (by `keyOf`), the thing and the label that names it. */
  readonly #labels: Map<string, { thing: Thing; label: string }>;

  private constructor(
    shared: Omit<ContainerdParts, 'passing'>,
    key: string,
    named: Iterable<{ thing: Thing; label: string }>,
  ) {
    this.#shared = shared;
    this.#key = key;
    this.#labels = new Map([...named].map((each) => [keyOf(each.thing), each]));
  }

  /** A bundle of things, which need not exist. Nothing is held before `make`. */
  static of(shared: Omit<ContainerdParts, 'passing'>, things: readonly Thing[]): Bundle {
    const named = things.map((thing, i) => ({ thing, label: labelOf(thing, i) }));
    return new Bundle(shared, `${prefix}${randomUUID()}`, named);
  }

  /** The bundle that is this thing of a lease; undefined when it is no bundle, or gone. */
  static async find(
    shared: Omit<ContainerdParts, 'passing'>,
    { id, type }: Thing,
  ): Promise<Bundle | undefined> {
    const { connection, snapshotter } = shared;
    if (type !== `snapshots/${snapshotter}` || !id.startsWith(prefix)) return undefined;
    const found = await connection.find('reading what a lease keeps', (call) =>
      connection.snapshots.stat({ snapshotter, key: id }, call),
    );
    return found?.info && new Bundle(shared, id, namedIn(found.info.labels));
  }

  get things(): Thing[] {
    return [...this.#labels.values()].map(({ thing }) => thing);
  }

  /** Has containerd keep the things as long as the lease (containerd's name of it) lives. */
  async make(lease: string): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const named = [...this.#labels.values()];
    const labels = Object.fromEntries(named.map(({ thing, label }) => [label, thing.id]));
    const what = `keeping ${named.length} things`;
    await connection.call(what, { again: true, lease }, async (call) => {
      try {
        const view = { snapshotter, key: this.#key, labels };
        await pastLeftover(() => connection.snapshots.view(view, call));
      } catch (err) {
        // Nobody else uses this name: an earlier try made it, and its answer was lost.
        if (!hasCode(err, Code.AlreadyExists)) throw err;
      }
    });
  }

  /** Releases some of the things; with the last one, the bundle is removed. */
  async drop(things: readonly Thing[]): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const gone: Record<string, undefined> = {};
    for (const key of things.map(keyOf)) {
      const label = this.#labels.get(key)?.label;
      if (label !== undefined) gone[label] = undefined;
      this.#labels.delete(key);
    }
    const key = this.#key;
    const info = { name: key, labels: labelValues(gone) };
    const update = { snapshotter, info, updateMask: { paths: labelPaths(gone) } };
    const isLast = this.#labels.size === 0;
    await connection.find<unknown>(`letting go of ${things.length} things`, (call) =>
      isLast
        ? connection.snapshots.remove({ snapshotter, key }, call)
        : connection.snapshots.update(update, call),
    );
  }
}

/** The name of a thing, unique among all things. */
export function keyOf({ type, id }: Thing): string {
  return `${type} ${id}`;
}

/** The inverse of `labelOf`, for all labels of a bundle. */
function* namedIn(labels: Record<string, string>): Iterable<{ thing: Thing; label: string }> {
  for (const [label, id] of Object.entries(labels)) {
    const [, snapshotter] = /^(.*)\/\d+$/.exec(label.slice(gcLabels.snapshot.length + 1)) ?? [];
    if (label.startsWith(`${gcLabels.content}.`)) yield { label, thing: { id, type: 'content' } };
    else if (label.startsWith(`${gcLabels.snapshot}.`) && snapshotter !== undefined) {
      yield { label, thing: { id, type: `snapshots/${snapshotter}` } };
    }
  }
}

function labelOf({ type }: Thing, number: number): string {
  if (type === 'content') return `${gcLabels.content}.${number}`;
  // The part after the slash only keeps labels apart.
  return `${gcLabels.snapshot}.${type.slice('snapshots/'.length)}/${number}`;
}
