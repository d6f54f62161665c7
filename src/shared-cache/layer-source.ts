import type { Descriptor } from '../oci/index.ts';
import type { EntryLayer } from './entry.ts';

/** An entry's layer in the form of foreign caches. */
export function layerBlob({
  mediaType,
  digest,
  size,
  ...rest
}: EntryLayer): Omit<EntryLayer, 'mediaType' | 'digest' | 'size'> & { descriptor: Descriptor } {
  return { ...rest, descriptor: { mediaType, digest, size } };
}
