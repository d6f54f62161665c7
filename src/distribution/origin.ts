/**
 * The label in which a snapshot remembers the blob it was unpacked from. The bytes of a layer made elsewhere cannot be
 * made again from its files. So an image built on it names the original blob, which lives as long as the snapshot.
 */
import { chunkAnnotations, type Descriptor } from '../oci/index.ts';
import { gcLabels } from '../store/index.ts';

interface BlobOrigin {
  blob: Descriptor;
  /** The reference of an image from which the blob can be fetched again. */
  from?: string;
}

const label = 'drydock/unpacked-from';

/** Labels for a snapshot that was unpacked from a blob. */
export function originLabels({ blob, from }: BlobOrigin): Record<string, string> {
  const { mediaType, digest, size, urls } = blob;
  const annotations = chunkAnnotations(blob);
  return {
    [label]: JSON.stringify({ blob: { mediaType, digest, size, urls, annotations }, from }),
    [`${gcLabels.content}.blob`]: digest,
  };
}

/** The blob that a snapshot was unpacked from, if it was. */
export function originOf(labels: Record<string, string>): Partial<BlobOrigin> {
  const text = labels[label];
  return text === undefined ? {} : (JSON.parse(text) as BlobOrigin);
}
