/** `drydock images`. */
import { isDangling, recordsByTarget, type StoredImage, storedImages } from '../distribution/index.ts';
import { chainIds, type Digest, formatPlatform } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { toldNames } from './told-names.ts';

/** One line of the list of images. */
export interface ImageSummary {
  /** The digest of the config. */
  id: Digest;
  /** The names that people write: `app:1`. Empty for a dangling image. */
  names: string[];
  /** `app@sha256:…`, if registries have it so or would get it so. */
  digests: string[];
  /** The digest of the manifest or index that the names point to. */
  target: Digest;
  /** The bytes of the layers' files; for layers that are not unpacked, of their blobs. */
  size: number;
  /** ms since the epoch; undefined when the config does not tell */
  created?: number;
  /** The platforms that are in the store. */
  platforms: string[];
  /** Whether the image has no name left. */
  dangling: boolean;
  labels: Record<string, string>;
}

/** Lists all images, newest first, without those whose documents are not all in content. */
export async function listImages(store: Store): Promise<ImageSummary[]> {
  const summaries: ImageSummary[] = [];
  for (const records of await recordsByTarget(store)) {
    const { name, target } = records[0];
    const images = await storedImages(store, name, target);
    const [image] = images;
    if (image === undefined) continue;
    const created = Date.parse(image.config.created ?? '');
    const { tags, digests } = await toldNames(store, records, images);
    summaries.push({
      id: image.id,
      names: tags,
      digests,
      target: target.digest,
      size: await imageSize(store, image),
      created: Number.isNaN(created) ? undefined : created,
      platforms: images.map(({ config }) => formatPlatform(config)),
      dangling: records.every((record) => isDangling(record.name)),
      labels: image.config.config?.Labels ?? {},
    });
  }
  return summaries.sort((a, b) => (b.created ?? 0) - (a.created ?? 0) || a.id.localeCompare(b.id));
}

/** The bytes of an image's layers: of their files if they are unpacked, else of their blobs. */
export async function imageSize(store: Store, image: StoredImage): Promise<number> {
  const chains = chainIds(image.config.rootfs.diff_ids);
  let total = 0;
  for (const [i, layer] of image.document.layers.entries()) {
    const chain = chains[i];
    const snapshot = chain === undefined ? undefined : await store.snapshots.byChain(chain);
    total += snapshot === undefined ? layer.size : (await store.snapshots.usage(snapshot.key)).size;
  }
  return total;
}
