/** Media types of layers and the compressions that they, and annotations, stand for. Pure. */
import { type Descriptor, estargzAnnotations, mediaTypes, zstdChunkedAnnotations } from '../oci/index.ts';
import type { WrittenLayer } from './block-writer.ts';
import type { Compression } from './types.ts';

const types: Readonly<Record<Compression['type'], string>> = {
  uncompressed: mediaTypes.ociLayer,
  gzip: mediaTypes.ociLayerGzip,
  zstd: mediaTypes.ociLayerZstd,
  // Readers that know no more than gzip and zstd read these, too.
  estargz: mediaTypes.ociLayerGzip,
  zstdchunked: mediaTypes.ociLayerZstd,
};

/** The descriptor of a blob that was written. */
export function descriptorOf(
  { type }: Compression,
  { digest, blobSize, annotations }: Pick<WrittenLayer, 'digest' | 'blobSize' | 'annotations'>,
): Descriptor {
  return { mediaType: types[type], digest, size: blobSize, ...(annotations && { annotations }) };
}

/** The compression of a layer, by its media type and its annotations. */
export function compressionOf({ mediaType, annotations = {} }: Descriptor): Compression['type'] {
  if (/gzip$/.test(mediaType)) return estargzAnnotations.tocDigest in annotations ? 'estargz' : 'gzip';
  if (/zstd$/.test(mediaType))
    return zstdChunkedAnnotations.manifestChecksum in annotations ? 'zstdchunked' : 'zstd';
  return 'uncompressed';
}
