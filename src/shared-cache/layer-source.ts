import type { Descriptor } from '../oci/index.ts';
import type { EntryLayer } from './entry.ts';

/** An entry's layer in the form of foreign caches. */
export function layerBlob({
  mediaType,
  digest,
  size,
  annotations,
  ...rest
}: EntryLayer): Omit<EntryLayer, keyof Descriptor> & { descriptor: Descriptor } {
  return { ...rest, descriptor: { mediaType, digest, size, ...(annotations && { annotations }) } };
}
