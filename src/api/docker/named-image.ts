/** The image that a request names, perhaps on a platform of its choice. */
import { type FoundImage, findImage, type StoredImage, storedImages } from '../../images/stored.ts';
import { formatPlatform, platformMatches } from '../../oci/platform.ts';
import type { Platform } from '../../oci/types.ts';
import type { Store } from '../../store/store.ts';
import { apiError } from './http/errors.ts';

export interface NamedImage extends FoundImage {
  /** All platforms of it that are here. */
  images: StoredImage[];
}

/** Throws as `findImage` does, and `not-found` when the image is not here for the platform. */
export async function namedImage(store: Store, name: string, platform?: Platform): Promise<NamedImage> {
  const found = await findImage(store, name);
  const images = await storedImages(store, found.record.name, found.record.target, platform);
  if (platform === undefined) return { ...found, images };
  const image = images.find(({ config }) => platformMatches(platform, config));
  if (image === undefined) {
    throw apiError(
      'not-found',
      `No such image: ${name} for ${formatPlatform(platform)}`,
      `Here it is for ${images.map(({ config }) => formatPlatform(config)).join(', ')}.`,
    );
  }
  return { ...found, image, images };
}
