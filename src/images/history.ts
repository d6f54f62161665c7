/** An image's history with the size of each step's layer. */
import { findImageFor, type StoredImage } from '../distribution/index.ts';
import { chainIds, type Digest, type Platform } from '../oci/index.ts';
import type { Store } from '../store/index.ts';

interface HistoryStep {
  /** ms since the epoch; undefined when the config does not tell */
  created?: number;
  createdBy: string;
  comment: string;
  /** The bytes of the layer's files, or of its blob when it is not unpacked; 0 for a step without a layer. */
  size: number;
}

/**
 * The steps of a named image, newest first, and its ID. `platform`: of several images under the name this one; default:
 * the one that runs here. Throws `not-found`.
 */
export async function namedHistory(
  store: Store,
  name: string,
  platform?: Platform,
): Promise<{ id: Digest; steps: HistoryStep[] }> {
  const { image } = await findImageFor(store, name, platform);
  return { id: image.id, steps: await imageHistory(store, image) };
}

/** The steps of an image, newest first. Layers that its history does not mention are steps without words. */
export async function imageHistory(store: Store, image: StoredImage): Promise<HistoryStep[]> {
  const chains = chainIds(image.config.rootfs.diff_ids);
  const sizes = await Promise.all(
    image.document.layers.map(async (layer, i) => {
      const snapshot = await store.snapshots.byChain(chains[i] as Digest);
      return snapshot === undefined ? layer.size : (await store.snapshots.usage(snapshot.key)).size;
    }),
  );
  let next = 0;
  const steps = (image.config.history ?? []).map((entry): HistoryStep => {
    const created = Date.parse(entry.created ?? '');
    return {
      ...(Number.isNaN(created) ? {} : { created }),
      createdBy: entry.created_by ?? '',
      comment: entry.comment ?? '',
      size: entry.empty_layer ? 0 : (sizes[next++] ?? 0),
    };
  });
  for (; next < sizes.length; next++) steps.push({ createdBy: '', comment: '', size: sizes[next] ?? 0 });
  return steps.reverse();
}
