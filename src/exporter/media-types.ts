/** The media types of layers: the compression that each means, and its counterpart in the other family. Pure. */
import type { Compression } from '../layer/index.ts';
import { type Descriptor, mediaTypes } from '../oci/index.ts';

/** The compression of a layer, by its media type. */
export function compressionOf({ mediaType }: Descriptor): Compression['type'] {
  if (/gzip$/.test(mediaType)) return 'gzip';
  return /zstd$/.test(mediaType) ? 'zstd' : 'uncompressed';
}

const names = {
  oci: { uncompressed: mediaTypes.ociLayer, gzip: mediaTypes.ociLayerGzip, zstd: mediaTypes.ociLayerZstd },
  docker: {
    uncompressed: mediaTypes.dockerLayer,
    gzip: mediaTypes.dockerLayerGzip,
    zstd: mediaTypes.dockerLayerZstd,
  },
} as const;

/** The descriptor with the media type of the wanted family. Unknown types stay as they are. */
export function typed(descriptor: Descriptor, oci: boolean): Descriptor {
  const known: string[] = [...Object.values(names.oci), ...Object.values(names.docker)];
  if (!known.includes(descriptor.mediaType)) return descriptor;
  return { ...descriptor, mediaType: names[oci ? 'oci' : 'docker'][compressionOf(descriptor)] };
}
