/** The layers in a folder of the client. */
import { takeBlob } from '../distribution/index.ts';
import type { ViewSpec } from '../fs/index.ts';
import { chainId, type Descriptor } from '../oci/index.ts';
import type { Refs } from '../refs/index.ts';
import type { ClientContent } from '../session/index.ts';
import type { Ref, RefContext, RefLayer, RefLayers, SerializedRef, Store } from '../store/index.ts';
import type { CacheLayerBlob } from './manifest.ts';
import type { CacheBlobs } from './read-cache.ts';

/** A place that a layer can be read from. */
type BlobSource = Pick<ClientContent, 'size' | 'read'>;

/** The layers in a store of the client, or in a bucket, which are copied into content before they are unpacked. */
export function clientBlobs(store: Store, refs: Refs, content: BlobSource): CacheBlobs {
  return {
    async has({ descriptor }) {
      if ((await store.content.info(descriptor.digest)) !== undefined) return true;
      return (await content.size(descriptor.digest)) === descriptor.size;
    },
    tree: (layers) => new ClientTree(store, refs, content, layers),
    bring: (blob, ctx) => takeBlob(store, blob, (signal) => content.read(blob.digest, { signal }), ctx),
  };
}

class ClientTree implements Ref {
  readonly id: string;
  readonly #store: Store;
  readonly #content: BlobSource;
  readonly #layers: readonly CacheLayerBlob[];
  readonly #image: Ref;

  constructor(store: Store, refs: Refs, content: BlobSource, layers: readonly CacheLayerBlob[]) {
    this.id = chainId(layers.map(({ diffId }) => diffId)) as string;
    this.#store = store;
    this.#content = content;
    this.#layers = layers;
    this.#image = refs.image(undefined, layers);
  }

  async view(ctx: RefContext): Promise<ViewSpec> {
    await this.snapshot(ctx);
    return this.#image.view(ctx);
  }

  async snapshot(ctx: RefContext): Promise<string> {
    const known = (await this.#image.layers())?.layers ?? [];
    // From the topmost layer that is unpacked on, blobs are wanted.
    const first = known.findLastIndex(({ snapshot }) => snapshot !== undefined) + 1;
    await Promise.all(this.#layers.slice(first).map(({ descriptor }) => this.#take(descriptor, ctx)));
    return this.#image.snapshot(ctx);
  }

  async layers(): Promise<RefLayers> {
    const known = (await this.#image.layers())?.layers ?? [];
    const layers = this.#layers.map(
      ({ descriptor, diffId, madeAt, madeBy }, i): RefLayer => ({
        madeAt,
        madeBy,
        snapshot: known[i]?.snapshot,
        diffId,
        blob: descriptor,
        bring: (ctx) => this.#take(descriptor, ctx),
      }),
    );
    return { where: 'here', layers };
  }

  serialize(): SerializedRef | undefined {
    return undefined;
  }

  #take(blob: Descriptor, ctx: RefContext): Promise<void> {
    return takeBlob(this.#store, blob, (signal) => this.#content.read(blob.digest, { signal }), ctx);
  }
}
