/** The media types of layers, in the OCI's family and in docker's. Pure. */
import { type Descriptor, mediaTypes } from './types.ts';

const families: readonly { oci: string; docker: string }[] = [
  { oci: mediaTypes.ociLayer, docker: mediaTypes.dockerLayer },
  { oci: mediaTypes.ociLayerGzip, docker: mediaTypes.dockerLayerGzip },
  { oci: mediaTypes.ociLayerZstd, docker: mediaTypes.dockerLayerZstd },
];

/** The descriptor with the media type of the wanted family. Unknown types stay as they are. */
export function typed(descriptor: Descriptor, oci: boolean): Descriptor {
  const { mediaType } = descriptor;
  const known = families.find((each) => each.oci === mediaType || each.docker === mediaType);
  return known === undefined ? descriptor : { ...descriptor, mediaType: oci ? known.oci : known.docker };
}
