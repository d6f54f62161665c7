/** docker's ImageManifestSummary: the manifests of an image's target, and which of them are here. */
import {
  blobsOf,
  type StoredAttestation,
  type StoredImage,
  storedAttestations,
} from '../../distribution/index.ts';
import type { ListedImage } from '../../images/index.ts';
import { imageSize } from '../../images/index.ts';
import type { Descriptor } from '../../oci/index.ts';
import type { Store } from '../../store/index.ts';
import type { Identities } from './identity.ts';

/**
 * One entry per platform that is here, and one for each manifest of statements about one of them.
 * https://docs.docker.com/reference/api/engine/ (ImageManifestSummary)
 */
export async function manifestsOf(
  store: Store,
  { images, target }: Pick<ListedImage, 'images' | 'target'>,
  identities?: Identities,
): Promise<object[]> {
  const stated = await storedAttestations(store, target.digest, target);
  return [...(await imageSummaries(store, images, target, identities)), ...stated.map(attestationSummary)];
}

function attestationSummary({ entry, document, about }: StoredAttestation): object {
  const size = blobsOf(document).reduce((sum, blob) => sum + blob.size, entry.size);
  return {
    ID: entry.digest,
    Descriptor: entry,
    Available: true,
    Size: { Content: size, Total: size },
    Kind: 'attestation',
    AttestationData: { For: about },
  };
}

async function imageSummaries(
  store: Store,
  images: readonly StoredImage[],
  target: Descriptor,
  identities: Identities | undefined,
): Promise<object[]> {
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
      const identity = await identities?.of(image.manifest, image.id, target);
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
          ...(identity === undefined ? {} : { Identity: identity }),
        },
      };
    }),
  );
}
