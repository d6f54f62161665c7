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

export class Bundle {
  readonly #shared: Omit<ContainerdParts, 'passing'>;
  readonly #key = `drydock-bundle-${randomUUID()}`;
  /** For each thing (by `keyOf`), the label that names it. */
  readonly #labels: Map<string, string>;
  readonly #things: readonly Thing[];

  /** Prepares a bundle of things, which need not exist. Nothing is held before `make`. */
  constructor(shared: Omit<ContainerdParts, 'passing'>, things: readonly Thing[]) {
    this.#shared = shared;
    this.#things = things;
    this.#labels = new Map(things.map((thing, i) => [keyOf(thing), labelOf(thing, i)]));
  }

  /** Has containerd keep the things as long as the lease (containerd's name of it) lives. */
  async make(lease: string): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const labels = Object.fromEntries(this.#things.map((thing, i) => [labelOf(thing, i), thing.id]));
    const what = `keeping ${this.#things.length} things`;
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
      const label = this.#labels.get(key);
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

function labelOf({ type }: Thing, number: number): string {
  if (type === 'content') return `${gcLabels.content}.${number}`;
  // The part after the slash only keeps labels apart.
  return `${gcLabels.snapshot}.${type.slice('snapshots/'.length)}/${number}`;
}
