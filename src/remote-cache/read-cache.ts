/** A foreign cache that was read, as the solver looks into it. */
import { chainId, type Descriptor, type Digest } from '../oci/index.ts';
import type { ForeignCache, ForeignInput, ForeignLeaf, ForeignMount } from '../solver/index.ts';
import type { Ref, RefContext, Store } from '../store/index.ts';
import type { CacheContents, CacheLayerBlob } from './manifest.ts';
import { isChosen, type MountChoice } from './mounts/choice.ts';

/** The layers of a foreign cache, wherever they are. */
export interface CacheBlobs {
  /** Whether a layer can be had: it is here, or it is still there. Throws the error of asking. */
  has(layer: CacheLayerBlob, ctx: RefContext): Promise<boolean>;
  /** The tree of these layers, lowest first. Nothing of it is fetched yet. */
  tree(layers: readonly CacheLayerBlob[]): Ref;
  /** Sees to it that a blob is in content, under the lease. Throws the errors of fetching. */
  bring(blob: Descriptor, ctx: RefContext): Promise<void>;
}

/** What a build takes of a cache besides its results. */
interface MountsWanted {
  /** The place of the cache, as `placeText` names it. */
  target: string;
  choice: MountChoice;
}

export class ReadCache implements ForeignCache {
  readonly name: string;
  readonly mounts: readonly ForeignMount[];
  readonly #contents: CacheContents;
  readonly #blobs: CacheBlobs;
  readonly #store: Store;

  constructor(store: Store, name: string, contents: CacheContents, blobs: CacheBlobs, wanted: MountsWanted) {
    this.#store = store;
    this.name = name;
    this.mounts = mountsOf(name, contents, blobs, wanted);
    this.#contents = contents;
    this.#blobs = blobs;
  }

  match(op: Digest, output: number, inputs: readonly ForeignInput[]): number[] {
    return this.#contents.graph.match(op, output, inputs);
  }

  has(op: Digest, output: number): boolean {
    return this.#contents.graph.has(op, output);
  }

  leaves(record: number): readonly (readonly ForeignLeaf[])[] {
    return this.#contents.graph.leaves(record);
  }

  hasResult(record: number): boolean {
    return this.#stacks(record).length > 0;
  }

  async restore(record: number, ctx: RefContext): Promise<Ref | undefined> {
    for (const layers of this.#stacks(record)) {
      const chain = chainId(layers.map(({ diffId }) => diffId)) as Digest;
      if ((await this.#store.snapshots.byChain(chain)) !== undefined) return this.#blobs.tree(layers);
      const there = await Promise.all(layers.map((layer) => this.#blobs.has(layer, ctx)));
      if (there.every(Boolean)) return this.#blobs.tree(layers);
    }
    return undefined;
  }

  /** The results of a record whose layers are all described. */
  #stacks(record: number): CacheLayerBlob[][] {
    const { graph, layers } = this.#contents;
    const stacks = (graph.records[record]?.results ?? []).map((result) => result.map((at) => layers[at]));
    return stacks.filter(
      (stack): stack is CacheLayerBlob[] => stack.length > 0 && stack.every((layer) => layer !== undefined),
    );
  }
}

/** The cache mounts of a cache that are wanted. */
function mountsOf(
  cache: string,
  { mounts = [] }: CacheContents,
  blobs: CacheBlobs,
  { target, choice }: MountsWanted,
): ForeignMount[] {
  return mounts
    .filter(({ key }) => isChosen(choice, key))
    .map(({ layers, ...mount }) => ({
      ...mount,
      cache,
      target,
      layers: layers.map(({ diffId, ...descriptor }) => ({ descriptor, diffId })),
      bring: (layer, ctx) => blobs.bring(layer, ctx),
    }));
}
