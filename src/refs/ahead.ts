/**
 * Layers that are unpacked while those below them are still being made: each into a snapshot of its own on nothing, from
 * which it is moved into its place.
 */
import { randomUUID } from 'node:crypto';
import type { Mount } from '../fs/index.ts';
import { moveLayer, unpackLayer } from '../layer/index.ts';
import { type Descriptor, type Digest, hex } from '../oci/index.ts';
import type { RefContext, Store } from '../store/index.ts';

/** A layer that is unpacked. */
interface Unpacked {
  diffId: Digest;
  /** Moves the layer into the mounts of an active snapshot. */
  move(mounts: readonly Mount[]): void;
}

/** The layers of one image that are unpacked ahead. */
export class Ahead {
  readonly #store: Store;
  readonly #ctx: RefContext;
  readonly #begun = new Map<Digest, Promise<Unpacked | undefined>>();
  readonly #keys: string[] = [];

  constructor(store: Store, ctx: RefContext) {
    this.#store = store;
    this.#ctx = ctx;
  }

  /** Begins with the layer of a chain as soon as its blob is here, unless it is at work already or the store cannot. */
  begin(chain: Digest, descriptor: Descriptor, blob: Promise<unknown> | undefined): void {
    // There a layer is a copy of the whole tree.
    if (this.#store.snapshotter === 'native') return;
    const unpacked = Promise.resolve(blob).then(() => {
      if (this.#ctx.signal?.aborted === true || this.#store.work.stacking.has(chain)) return undefined;
      return this.#unpack(chain, descriptor);
    });
    // What is wrong with it is found when it is unpacked in its place.
    this.#begun.set(
      chain,
      unpacked.catch(() => undefined),
    );
  }

  /** The layer, if it could be unpacked; undefined when it must be unpacked in its place. */
  async take(chain: Digest): Promise<Unpacked | undefined> {
    return this.#begun.get(chain);
  }

  /** Waits until nothing is unpacked any more, and removes what is left. */
  async close(): Promise<void> {
    await Promise.all(this.#begun.values());
    await Promise.all(this.#keys.map((key) => this.#store.snapshots.remove(key).catch(() => {})));
  }

  async #unpack(chain: Digest, descriptor: Descriptor): Promise<Unpacked> {
    const { snapshots } = this.#store;
    const key = `ahead-${hex(chain).slice(0, 16)}-${randomUUID()}`;
    this.#keys.push(key);
    const own = await snapshots.prepare(key, undefined, { lease: this.#ctx.lease });
    const { diffId, hasRoot } = await unpackLayer(this.#store, own, descriptor, {
      ...this.#ctx,
      ahead: true,
    });
    return { diffId, move: (mounts) => moveLayer(own, mounts, hasRoot) };
  }
}
