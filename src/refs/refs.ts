/** Makes refs: the immutable trees that vertices pass to each other, lazy where possible. */
import { originOf } from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import { SingleFlight } from '../flow/index.ts';
import { specOfMounts, type ViewSpec } from '../fs/index.ts';
import { chainIds, type Digest, digestOf } from '../oci/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import {
  holdSnapshot,
  holdSnapshots,
  type Ref,
  type RefContext,
  type RefLayer,
  type RefLayers,
  type SerializedRef,
  type Store,
  snapshotKeys,
  snapshotLabels,
  unlessThere,
} from '../store/index.ts';
import { MergeRef } from './merge-ref.ts';
import { seedFolder } from './seed.ts';
import { writeSnapshot } from './snapshot.ts';
import type { Refs } from './types.ts';
import { materialize } from './unpack.ts';

interface RefDeps {
  store: Store;
  registry: RegistryClient;
}

/** The refs of one store. */
export function createRefs(deps: RefDeps): Refs {
  const { store } = deps;
  const empty = new EmptyRef(store);
  const stacked = {
    hold: (key: string, lease: string) => holdSnapshot(store, lease, key),
    view: (key: string) => viewOf(store, key),
    layers: (key: string) => layersOfSnapshot(store, key),
  };
  return {
    empty: () => empty,
    snapshot: (key) => new SnapshotRef(store, key),
    merge: (parts) => new MergeRef(store, stacked, parts),
    folder: (spec) => new FolderRef(store, spec),
    image: (source, layers) => (layers.length === 0 ? empty : new ImageRef(deps, source, layers)),
    async restore(serialized, lease) {
      const isHere = await holdSnapshots(store, lease, [...new Set(snapshotKeys(serialized))]);
      return isHere ? held(this, store, serialized) : undefined;
    },
  };
}

/** The ref of a form whose snapshots are under the caller's lease. */
function held(refs: Refs, store: Store, form: SerializedRef): Ref {
  switch (form.kind) {
    case 'empty':
      return refs.empty();
    case 'image':
      return refs.image(form.ref, form.layers);
    case 'merge':
      return refs.merge(form.parts.map((part) => held(refs, store, part)));
    case 'snapshot':
      return new SnapshotRef(store, form.key);
  }
}

/** A view of a committed snapshot, which the caller's lease keeps. */
async function viewOf(store: Store, key: string): Promise<ViewSpec> {
  return specOfMounts((await store.snapshots.view(key, { kept: true })).mounts);
}

class EmptyRef implements Ref {
  readonly id = 'empty';
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async view(): Promise<ViewSpec> {
    return { kind: 'empty' };
  }

  /** The empty snapshot, one for all callers. */
  async snapshot(ctx: RefContext): Promise<string> {
    const name = 'empty';
    if (await holdSnapshot(this.#store, ctx.lease, name)) return name;
    const key = `empty-${crypto.randomUUID()}`;
    await unlessThere(writeSnapshot(this.#store, { name, key, parent: undefined, actions: [] }, ctx));
    return name;
  }

  async layers(): Promise<RefLayers> {
    return { where: 'here', layers: [] };
  }

  serialize(): SerializedRef {
    return { kind: 'empty' };
  }
}

class SnapshotRef implements Ref {
  readonly id: string;
  readonly #store: Store;

  constructor(store: Store, key: string) {
    this.id = key;
    this.#store = store;
  }

  async view(ctx: RefContext): Promise<ViewSpec> {
    return viewOf(this.#store, await this.snapshot(ctx));
  }

  async snapshot(ctx: RefContext): Promise<string> {
    await this.#store.leases.add(ctx.lease, { type: 'snapshot', id: this.id });
    return this.id;
  }

  layers(): Promise<RefLayers> {
    return layersOfSnapshot(this.#store, this.id);
  }

  serialize(): SerializedRef {
    return { kind: 'snapshot', key: this.id };
  }
}

/** The stack of a snapshot, lowest first, with the facts in its labels. */
async function layersOfSnapshot(store: Store, key: string): Promise<RefLayers> {
  const chain = await store.snapshots.chain(key);
  if (chain.length === 0) {
    throw fail('not-found', 'store', `there is no snapshot ${JSON.stringify(key)}`);
  }
  const layers = chain.flatMap((info): RefLayer[] => {
    // The snapshot of the empty tree is no layer.
    if (info.key === 'empty' && info.parent === undefined) return [];
    const diffId = info.labels[snapshotLabels.diffId] as Digest | undefined;
    const made = info.labels[snapshotLabels.madeAt];
    const madeAt = made === undefined ? undefined : Number(made);
    const madeBy = info.labels[snapshotLabels.madeBy];
    return [{ snapshot: info.key, info, diffId, madeAt, madeBy, ...originOf(info.labels) }];
  });
  return { where: 'here', layers };
}

class FolderRef implements Ref {
  readonly id: string;
  readonly changeable: boolean;
  readonly lasting: boolean;
  readonly #store: Store;
  readonly #spec: Extract<ViewSpec, { kind: 'folder' }>;
  readonly #seeding = new SingleFlight();
  #key: string | undefined;

  constructor(store: Store, spec: Extract<ViewSpec, { kind: 'folder' }>) {
    this.id = `folder:${digestOf(JSON.stringify(spec))}`;
    this.#store = store;
    this.#spec = spec;
    this.changeable = spec.state === undefined;
    this.lasting = spec.stamp !== undefined;
  }

  async view(): Promise<ViewSpec> {
    return this.#spec;
  }

  async snapshot(ctx: RefContext): Promise<string> {
    if (this.#key !== undefined && (await holdSnapshot(this.#store, ctx.lease, this.#key))) return this.#key;
    // Several steps may mount one folder at once; it is copied once.
    this.#key = await this.#seeding.run('', ctx.signal, () => seedFolder(this.#store, this.#spec, ctx));
    await this.#store.leases.add(ctx.lease, { type: 'snapshot', id: this.#key });
    return this.#key;
  }

  async layers(): Promise<RefLayers | undefined> {
    return this.#key === undefined ? undefined : layersOfSnapshot(this.#store, this.#key);
  }

  serialize(): undefined {
    return undefined;
  }
}

class ImageRef implements Ref {
  readonly id: string;
  readonly #deps: RefDeps;
  readonly #source: string | undefined;
  readonly #layers: Parameters<Refs['image']>[1];
  readonly #chains: Digest[];

  constructor(deps: RefDeps, source: string | undefined, layers: Parameters<Refs['image']>[1]) {
    this.#deps = deps;
    this.#source = source;
    this.#layers = layers;
    this.#chains = chainIds(layers.map(({ diffId }) => diffId));
    this.id = this.#chains.at(-1) as Digest;
  }

  async view(ctx: RefContext): Promise<ViewSpec> {
    return viewOf(this.#deps.store, await this.snapshot(ctx));
  }

  snapshot(ctx: RefContext): Promise<string> {
    const { store, registry } = this.#deps;
    return materialize(store, registry, this.#source, this.#layers, this.#chains, ctx);
  }

  async layers(): Promise<RefLayers> {
    const { snapshots } = this.#deps.store;
    const known = await Promise.all(this.#chains.map((chain) => snapshots.byChain(chain)));
    const layers = this.#layers.map(({ descriptor, diffId, madeAt, madeBy }, i) => ({
      snapshot: known[i]?.key,
      diffId,
      madeAt,
      madeBy,
      blob: descriptor,
      from: this.#source,
    }));
    return { where: 'here', layers };
  }

  serialize(): SerializedRef | undefined {
    if (this.#source === undefined) return undefined;
    const layers = this.#layers.map(({ descriptor, diffId }) => ({ descriptor, diffId }));
    return { kind: 'image', ref: this.#source, layers };
  }
}
