/** Finds the image that a request names, perhaps for a platform that the request chooses. */
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
  /** The image for each platform that is here. */
  images: StoredImage[];
}

/** Throws as `findImage` does; throws `not-found` when the image is not here for the platform. */
export async function namedImage(store: Store, name: string, platform?: Platform): Promise<NamedImage> {
  const found = await findImage(store, name);
  const images = await storedImages(store, found.record.name, found.record.target, platform);
  if (platform === undefined) return { ...found, images };
  return { ...found, image: imageFor(platform, images, name), images };
}
