/** The image that a request names, perhaps on a platform of its choice. */
import {
  type FoundImage,
  findImage,
  imageFor,
  type StoredImage,
  storedImages,
} from '../../distribution/index.ts';
import type { Platform } from '../../oci/index.ts';
import type { Store } from '../../store/index.ts';

interface NamedImage extends FoundImage {
  /** All platforms of it that are here. */
  images: StoredImage[];
}

/** Throws as `findImage` does, and `not-found` when the image is not here for the platform. */
export async function namedImage(store: Store, name: string, platform?: Platform): Promise<NamedImage> {
  const found = await findImage(store, name);
  const images = await storedImages(store, found.record.name, found.record.target, platform);
  if (platform === undefined) return { ...found, images };
  return { ...found, image: imageFor(platform, images, name), images };
}
