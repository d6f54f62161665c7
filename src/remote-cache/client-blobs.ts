/** Layers in a folder of the client's. */
import { randomUUID } from 'node:crypto';
import { canceled, DrydockError } from '../errors/error.ts';
import type { ViewSpec } from '../fs/view.ts';
import { chainId } from '../oci/digest.ts';
import type { Descriptor } from '../oci/types.ts';
import type { Refs } from '../refs/types.ts';
import type { ClientContent } from '../session/types.ts';
import type { Ref, RefContext, RefLayer, SerializedRef } from '../store/ref.ts';
import type { Store } from '../store/store.ts';
import type { CacheBlobs } from './imported.ts';
import type { CacheLayerBlob } from './manifest.ts';

export function clientBlobs(store: Store, refs: Refs, content: ClientContent): CacheBlobs {
  return {
    async has({ descriptor }) {
      if ((await store.content.info(descriptor.digest)) !== undefined) return true;
      return (await content.size(descriptor.digest)) === descriptor.size;
    },
    tree: (layers) => new ClientTree(store, refs, content, layers),
  };
}

class ClientTree implements Ref {
  readonly id: string;
  readonly #store: Store;
  readonly #content: ClientContent;
  readonly #layers: readonly CacheLayerBlob[];
  readonly #image: Ref;

  constructor(store: Store, refs: Refs, content: ClientContent, layers: readonly CacheLayerBlob[]) {
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
    const known = (await this.#image.layers()) ?? [];
    // From the topmost layer that is unpacked on, blobs are wanted.
    const first = known.findLastIndex(({ snapshot }) => snapshot !== undefined) + 1;
    await Promise.all(this.#layers.slice(first).map(({ descriptor }) => this.#fetch(descriptor, ctx)));
    return this.#image.snapshot(ctx);
  }

  async layers(): Promise<readonly RefLayer[]> {
    const known = (await this.#image.layers()) ?? [];
    return this.#layers.map(({ descriptor, diffId, madeAt }, i) => ({
      madeAt,
      snapshot: known[i]?.snapshot,
      diffId,
      blob: descriptor,
      bring: (ctx) => this.#fetch(descriptor, ctx),
    }));
  }

  serialize(): SerializedRef | undefined {
    return undefined;
  }

  /** Puts a blob into content, checked, under the lease. */
  async #fetch(blob: Descriptor, ctx: RefContext): Promise<void> {
    const expected = { digest: blob.digest, size: blob.size };
    const ref = `cache-${blob.digest}-${randomUUID()}`;
    const writer = await this.#store.content.writer(ref, { lease: ctx.lease, expected }).catch((err) => {
      if (err instanceof DrydockError && err.code === 'exists') return undefined;
      throw err;
    });
    if (writer === undefined) return;
    try {
      let current = 0;
      for await (const chunk of await this.#content.read(blob.digest, { signal: ctx.signal })) {
        await writer.write(chunk as Buffer);
        current += (chunk as Buffer).length;
        ctx.report?.(blob.digest, { current, total: blob.size });
      }
      await writer.commit();
      ctx.report?.(blob.digest, { current, total: blob.size, done: true });
    } catch (err) {
      await writer.abort();
      if (ctx.signal?.aborted) throw canceled(ctx.signal.reason);
      if (err instanceof DrydockError && err.code === 'exists') return;
      throw err;
    }
  }
}
