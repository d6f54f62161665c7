/** The media types of layers, in the OCI's family and in docker's. Pure. */
import { compressionOf } from '../layer/index.ts';
import { type Descriptor, mediaTypes } from '../oci/index.ts';

const names = {
  oci: family(mediaTypes.ociLayer, mediaTypes.ociLayerGzip, mediaTypes.ociLayerZstd),
  docker: family(mediaTypes.dockerLayer, mediaTypes.dockerLayerGzip, mediaTypes.dockerLayerZstd),
};

function family(uncompressed: string, gzip: string, zstd: string) {
  return { uncompressed, gzip, zstd, estargz: gzip, zstdchunked: zstd };
}

/** The descriptor with the media type of the wanted family. Unknown types stay as they are. */
export function typed(descriptor: Descriptor, oci: boolean): Descriptor {
  const known: string[] = [...Object.values(names.oci), ...Object.values(names.docker)];
  if (!known.includes(descriptor.mediaType)) return descriptor;
  return { ...descriptor, mediaType: names[oci ? 'oci' : 'docker'][compressionOf(descriptor)] };
}
