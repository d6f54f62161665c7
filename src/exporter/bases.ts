/**
 * The layers that a tree has from its base images are exported as those images name them, whatever else is known of
 * them.
 */
import { isPublished } from '../distribution/index.ts';
import { type Compression, compressionOf, packedVariants } from '../layer/index.ts';
import { chainIds, chunkAnnotations, type Digest } from '../oci/index.ts';
import type { ImageLayer } from '../solver/index.ts';
import type { RefLayer, Store } from '../store/index.ts';
import type { Bases, ExportContext } from './types.ts';

/**
 * The layers of the images that a build used, as those images name them. Where two images name one layer differently,
 * the first one counts.
 */
export function basesOf(images: readonly (readonly ImageLayer[])[]): Bases {
  const bases = new Map<Digest, Pick<ImageLayer, 'blob' | 'from'>>();
  for (const layers of images) {
    const chains = chainIds(layers.map(({ diffId }) => diffId));
    for (const [i, { blob, from }] of layers.entries()) {
      const chain = chains[i] as Digest;
      if (!bases.has(chain)) bases.set(chain, { blob, from });
    }
  }
  return bases;
}

/** The layers of a tree, lowest first. Those of its bases have the blobs that the bases name. */
export async function withBases(
  layers: readonly RefLayer[],
  { bases, store }: Pick<ExportContext, 'bases' | 'store'>,
  { force, compression }: { force: boolean; compression: Compression },
): Promise<readonly RefLayer[]> {
  if (layers.length === 0) return layers;
  const named = await bases?.();
  if (named === undefined || named.size === 0) return layers;
  const known = layers.map(({ diffId }) => diffId);
  const end = known.indexOf(undefined);
  const chains = chainIds(known.slice(0, end < 0 ? known.length : end) as Digest[]);
  return Promise.all(
    layers.map(async (layer, i) => {
      const base = i < chains.length ? named.get(chains[i] as Digest) : undefined;
      if (base === undefined) return layer;
      if (base.blob.digest === layer.blob?.digest) {
        // What the store knows of a blob is less than what the manifest tells of it.
        const annotations = chunkAnnotations(base.blob);
        return annotations === undefined ? layer : { ...layer, blob: { ...layer.blob, annotations } };
      }
      const { blob, from } = base;
      // What is to have another compression is packed from its files, where they are here.
      if (force && layer.blob === undefined && compressionOf(blob) !== compression.type) return layer;
      if (from === undefined && !(await isMakeable(store, blob.digest, layer))) return layer;
      // One that is only here is uncompressed because nobody has asked for more: that is for each output to say.
      const isPlain = compressionOf(blob) === 'uncompressed';
      if (isPlain && from === undefined && !(await isPublished(store, blob.digest))) return layer;
      return { ...layer, blob, from };
    }),
  );
}

/** Whether the blob of a layer is here, or can be made again from the layer's snapshot. */
export async function isMakeable(store: Store, digest: Digest, layer: RefLayer): Promise<boolean> {
  if ((await store.content.info(digest)) !== undefined) return true;
  const { snapshot } = layer;
  const info = layer.info ?? (snapshot === undefined ? undefined : await store.snapshots.stat(snapshot));
  if (info === undefined) return false;
  return packedVariants(info).some((variant) => variant.digest === digest);
}
