/**
 * Many things held by one call. Each change of a lease is a synchronous write of containerd's, and about one thing; but
 * a snapshot's labels can name any number of others, which its collector keeps with it. So a bundle is an empty view
 * (those are in nobody's lists) under the lease, whose labels name what is to be kept.
 */
import { randomUUID } from 'node:crypto';
import { Code } from '@connectrpc/connect';
import type { Resource } from '../../pb/containerd/leases_pb.js';
import { gcLabels } from '../store.ts';
import { hasCode } from './errors.ts';
import { type ContainerdParts, labelPaths, labelValues } from './shared.ts';

export type Thing = Pick<Resource, 'id' | 'type'>;

/** From so many things on, a bundle is less work for containerd than each by itself. */
export const worthBundling = 4;

export class Bundle {
  readonly #shared: Omit<ContainerdParts, 'passing'>;
  readonly #key = `drydock-bundle-${randomUUID()}`;
  /** By `keyOf` a thing: the label that names it. */
  readonly #labels: Map<string, string>;
  readonly #things: readonly Thing[];

  /** Nothing is held before `make`. The things need not be there. */
  constructor(shared: Omit<ContainerdParts, 'passing'>, things: readonly Thing[]) {
    this.#shared = shared;
    this.#things = things;
    this.#labels = new Map(things.map((thing, i) => [keyOf(thing), labelOf(thing, i)]));
  }

  /** Has containerd keep the things as long as a lease, which is given by containerd's name. */
  async make(lease: string): Promise<void> {
    const { connection, snapshotter } = this.#shared;
    const labels = Object.fromEntries(this.#things.map((thing, i) => [labelOf(thing, i), thing.id]));
    const what = `keeping ${this.#things.length} things`;
    await connection.call(what, { again: true, lease }, async (call) => {
      try {
        await connection.snapshots.view({ snapshotter, key: this.#key, labels }, call);
      } catch (err) {
        // Nobody else has its name: it was made by an earlier try, whose answer was lost.
        if (!hasCode(err, Code.AlreadyExists)) throw err;
      }
    });
  }

  /** Lets go of some of its things; with the last one, the bundle goes. */
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

/** A thing's name among all. */
export function keyOf({ type, id }: Thing): string {
  return `${type} ${id}`;
}

function labelOf({ type }: Thing, number: number): string {
  if (type === 'content') return `${gcLabels.content}.${number}`;
  // The part after the slash only tells labels apart.
  return `${gcLabels.snapshot}.${type.slice('snapshots/'.length)}/${number}`;
}
