/** Checks a manifest that a registry sent, and finds its media type. */
import { type DrydockError, fail } from '../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  digestOf,
  documentExcess,
  isDigest,
  isIndexType,
  isManifestType,
  mediaTypes,
} from '../oci/index.ts';

/** The media types that we accept. */
export const acceptedManifests = [
  mediaTypes.ociIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerIndex,
  mediaTypes.dockerManifest,
  '*/*',
].join(', ');

/** The largest manifest in bytes: the least that the distribution specification asks for. */
export const maxManifest = 4 << 20;

/** A manifest or index that a registry sent, checked. */
export interface FetchedManifest {
  descriptor: Descriptor;
  bytes: Buffer;
}

/**
 * Checks a manifest's bytes against the requested digest and the one that the registry named, and finds its media type.
 * Throws `corrupt` when a digest differs, `exhausted` when it is too large, `unsupported` for docker's schema 1.
 * `where` begins the messages.
 */
export function checkManifest(
  bytes: Buffer,
  expected: { digest?: Digest; named?: string; contentType?: string },
  where: string,
): FetchedManifest {
  const excess = documentExcess(bytes);
  if (excess !== undefined) throw fail('exhausted', 'registry', `${where}: the manifest has ${excess}`);
  let document: Record<string, unknown>;
  try {
    document = JSON.parse(bytes.toString('utf8'));
    if (document === null || typeof document !== 'object' || Array.isArray(document))
      throw new Error('no object');
  } catch (cause) {
    throw fail('corrupt', 'registry', `${where}: what the registry sent is not a manifest`, { cause });
  }
  if (document.schemaVersion === 1) {
    throw fail(
      'unsupported',
      'registry',
      `${where}: the image is in docker's old schema 1 format, which is not supported`,
      {
        hint: 'Push it again with a current docker, or copy it with `skopeo copy --format v2s2`.',
      },
    );
  }
  const digest = digestOf(bytes);
  if (expected.digest !== undefined && digest !== expected.digest)
    throw mismatch(where, expected.digest, digest);
  if (expected.named !== undefined && isDigest(expected.named) && digest !== expected.named) {
    throw mismatch(where, expected.named, digest);
  }
  const mediaType = mediaTypeOf(document, expected.contentType);
  if (!isIndexType(mediaType) && !isManifestType(mediaType)) {
    throw fail('unsupported', 'registry', `${where}: ${JSON.stringify(mediaType)} is no image`, {
      hint: 'The reference names something other than a container image.',
    });
  }
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

function mismatch(where: string, want: string, got: string): DrydockError {
  return fail(
    'corrupt',
    'registry',
    `${where}: the registry sent a manifest with digest ${got}, not ${want}`,
    {
      hint: 'The registry or a proxy on the way changed it; try again, or tell who runs it.',
    },
  );
}

/** The document's own media type counts before the header's, since the digest covers it. */
function mediaTypeOf(document: Record<string, unknown>, contentType: string | undefined): string {
  if (typeof document.mediaType === 'string' && document.mediaType !== '') return document.mediaType;
  const header = contentType?.split(';')[0]?.trim();
  if (Array.isArray(document.manifests) && !Array.isArray(document.layers)) {
    return header !== undefined && isIndexType(header) ? header : mediaTypes.ociIndex;
  }
  if (Array.isArray(document.layers) && !Array.isArray(document.manifests)) {
    return header !== undefined && isManifestType(header) ? header : mediaTypes.ociManifest;
  }
  return header ?? 'unknown';
}
