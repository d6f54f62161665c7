/** The names of an image for people and clients: its tags, and the digests under which registries have it. */
import {
  isDangling,
  isFrom,
  isPublished,
  referenceOf,
  type StoredImage,
  storedImages,
} from '../distribution/index.ts';
import { type Digest, familiarName, mediaTypes } from '../oci/index.ts';
import type { ImageRecord, Store } from '../store/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';

interface ToldNames {
  /** `app:1` */
  tags: string[];
  /** `app@sha256:…` */
  digests: string[];
}

/**
 * The tags and digests of records, sorted. A digest is listed only if the repository has it or would get it by a push:
 * not that of layers that a push will compress first. `images`: the images of the records' one target, if they were
 * just read.
 */
export async function toldNames(
  store: Store,
  records: readonly Pick<ImageRecord, 'name' | 'target'>[],
  images?: readonly StoredImage[],
): Promise<ToldNames> {
  const tags: string[] = [];
  const digests = new Set<string>();
  const lasting = new Map<Digest, Promise<boolean>>();
  for (const { name, target } of records) {
    if (isDue()) await nextTurn();
    const ref = isDangling(name) ? undefined : referenceOf(name);
    if (ref === undefined) continue;
    if (ref.tag !== undefined) tags.push(familiarName(name));
    const { domain, path } = ref;
    let lasts = lasting.get(target.digest);
    if (lasts === undefined) {
      lasts = isLasting(store, images ?? (await storedImages(store, name, target)));
      lasting.set(target.digest, lasts);
    }
    if ((await lasts) || (await isFrom(store, ref, target.digest))) {
      digests.add(`${familiarName(`${domain}/${path}`)}@${target.digest}`);
    }
  }
  return { tags: tags.sort(), digests: [...digests].sort() };
}

/** Whether a push would send the images unchanged. */
async function isLasting(store: Store, images: readonly StoredImage[]): Promise<boolean> {
  const plain = new Set<Digest>();
  for (const { document } of images) {
    for (const { mediaType, digest } of document.layers) {
      if (mediaType === mediaTypes.ociLayer || mediaType === mediaTypes.dockerLayer) plain.add(digest);
    }
  }
  for (const digest of plain) if (!(await isPublished(store, digest))) return false;
  return true;
}
