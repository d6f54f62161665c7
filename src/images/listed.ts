/** The images of the store, as docker's API lists them. */
import { isDangling, recordsByTarget, type StoredImage, storedImages } from '../distribution/index.ts';
import { Limiter } from '../flow/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import type { ImageRecord, Store } from '../store/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';
import { toldNames } from './told-names.ts';

/** One image with all of its names. */
export interface ListedImage {
  id: Digest;
  image: StoredImage;
  /** The image for each platform of its target that is here, the host's first. */
  images: StoredImage[];
  target: Descriptor;
  records: ImageRecord[];
  /** `app:1` */
  tags: string[];
  /** `app@sha256:…` */
  digests: string[];
  dangling: boolean;
  /** When it was made, in ms since the epoch; 0 when the config does not say. */
  created: number;
  labels: Record<string, string>;
}

/**
 * Every image whose documents are all in content, newest first. Manifests of the same image on the same platforms give
 * one entry. An image of one platform and an image that has this platform among others are two entries with one ID.
 */
export async function listedImages(store: Store): Promise<ListedImage[]> {
  const byImages = new Map<string, ListedImage>();
  // A few at a time: what is done with each begins in turns, and not for all of them at once.
  const reading = new Limiter(16);
  const found = await Promise.all(
    (await recordsByTarget(store)).map((records) =>
      reading.run(async () => {
        const { name, target } = records[0];
        if (isDue()) await nextTurn();
        const images = await storedImages(store, name, target);
        return { records, target, images, ...(await toldNames(store, records, images)) };
      }),
    ),
  );
  for (const { records, target, images, tags, digests } of found) {
    if (isDue()) await nextTurn();
    const [image] = images;
    if (image === undefined) continue;
    const isLoose = records.every(({ name }) => isDangling(name));
    const key = images.map(({ id }) => id).join(' ');
    const same = byImages.get(key);
    if (same !== undefined) {
      same.records.push(...records);
      same.tags = [...new Set([...same.tags, ...tags])].sort();
      same.digests = [...new Set([...same.digests, ...digests])].sort();
      same.dangling &&= isLoose;
      continue;
    }
    const created = Date.parse(image.config.created ?? '');
    byImages.set(key, {
      id: image.id,
      image,
      images,
      target,
      records: [...records],
      tags,
      digests,
      dangling: isLoose,
      created: Number.isNaN(created) ? 0 : created,
      labels: image.config.config?.Labels ?? {},
    });
  }
  return [...byImages.values()].sort((a, b) => b.created - a.created || a.id.localeCompare(b.id));
}
