/** `drydock images`. */
import { isDangling, recordsByTarget, type StoredImage, storedImages } from '../distribution/index.ts';
import { chainIds, type Digest, formatPlatform } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { toldNames } from './told-names.ts';

export interface ImageSummary {
  /** Config digest. */
  id: Digest;
  /** As people write them: `app:1`. Empty for a dangling image. */
  names: string[];
  /** `app@sha256:…`, as far as registries have it so or would get it so. */
  digests: string[];
  /** Digest of the manifest or index that the names point to. */
  target: Digest;
  /** Bytes of the layers' files; for layers that are not unpacked, of their blobs. */
  size: number;
  /** ms since the epoch; undefined when the config does not say */
  created?: number;
  /** The platforms that are here. */
  platforms: string[];
  /** No name is left. */
  dangling: boolean;
}

/** Every image, newest first. One whose documents are not all in content is left out. */
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
    });
  }
  return summaries.sort((a, b) => (b.created ?? 0) - (a.created ?? 0) || a.id.localeCompare(b.id));
}

/** Bytes of an image's layers: of their files where they are unpacked, else of their blobs. */
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
