/** A foreign cache that was read, as the solver looks into it. */
import { chainId, type Digest } from '../oci/index.ts';
import type { ForeignCache, ForeignInput, ForeignLeaf } from '../solver/index.ts';
import type { Ref, RefContext, Store } from '../store/index.ts';
import type { CacheContents, CacheLayerBlob } from './manifest.ts';

/** The layers of a foreign cache, wherever they are. */
export interface CacheBlobs {
  /** Whether a layer can be had: it is here, or it is still there. Throws the error of asking. */
  has(layer: CacheLayerBlob, ctx: RefContext): Promise<boolean>;
  /** The tree of these layers, lowest first. Nothing of it is fetched yet. */
  tree(layers: readonly CacheLayerBlob[]): Ref;
}

export class ReadCache implements ForeignCache {
  readonly name: string;
  readonly #contents: CacheContents;
  readonly #blobs: CacheBlobs;
  readonly #store: Store;

  constructor(store: Store, name: string, contents: CacheContents, blobs: CacheBlobs) {
    this.#store = store;
    this.name = name;
    this.#contents = contents;
    this.#blobs = blobs;
  }

  match(op: Digest, output: number, inputs: readonly ForeignInput[]): number[] {
    return this.#contents.graph.match(op, output, inputs);
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
