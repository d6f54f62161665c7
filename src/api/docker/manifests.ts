/** docker's ImageManifestSummary: the manifests of an image's target, and which of them are here. */
import { imageSize } from '../../images/index.ts';
import type { Store } from '../../store/index.ts';
import type { ListedImage } from './images.ts';

/** One entry for each platform that is here. https://docs.docker.com/reference/api/engine/ (ImageManifestSummary) */
export async function manifestsOf(store: Store, { images }: Pick<ListedImage, 'images'>): Promise<object[]> {
  return Promise.all(
    images.map(async (image) => {
      const blobs = await Promise.all(
        image.document.layers.map(async (layer) =>
          (await store.content.info(layer.digest)) === undefined ? 0 : layer.size,
        ),
      );
      const content = image.manifest.size + image.document.config.size + blobs.reduce((a, b) => a + b, 0);
      const unpacked = await imageSize(store, image);
      const { architecture, os, variant } = image.config;
      return {
        ID: image.manifest.digest,
        Descriptor: image.manifest,
        Available: true,
        Size: { Content: content, Total: content + unpacked },
        Kind: 'image',
        ImageData: {
          Platform: { architecture, os, ...(variant === undefined ? {} : { variant }) },
          Containers: [],
          Size: { Unpacked: unpacked },
        },
      };
    }),
  );
}
