/** Manifests of statements about images, which an index lists beside them, as they are in a store. */
import { DrydockError, fail } from '../errors/index.ts';
import { type Descriptor, type Digest, isIndexType, isManifestType, type Manifest } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';
import { type DocumentOrigin, parseIndex, parseManifest } from './documents.ts';

export interface StoredAttestation {
  /** As the index lists it. */
  entry: Descriptor;
  document: Manifest;
  /** The image that it is about. */
  about: Digest;
}

/** The largest number of attestation manifests of one image that are looked at. */
const maxAttestations = 16;

/** Names the image that an attestation in an index is about; undefined for an index entry of another kind. */
export function aboutOf({ annotations, mediaType }: Descriptor): Digest | undefined {
  if (annotations?.['vnd.docker.reference.type'] !== 'attestation-manifest') return undefined;
  return isManifestType(mediaType)
    ? (annotations['vnd.docker.reference.digest'] as Digest | undefined)
    : undefined;
}

/** Lists the attestations in an index that are about images of the index, up to a number for each image. */
export function attestationEntries(manifests: readonly Descriptor[]): { entry: Descriptor; about: Digest }[] {
  const left = new Map<string, number>(manifests.map(({ digest }) => [digest, maxAttestations]));
  return manifests.flatMap((entry) => {
    const about = aboutOf(entry);
    const more = about === undefined ? 0 : (left.get(about) ?? 0);
    if (about === undefined || more === 0) return [];
    left.set(about, more - 1);
    return [{ entry, about }];
  });
}

/** Finds the attestations of an index whose manifests and blobs are all in content. */
export async function storedAttestations(
  store: Store,
  name: string,
  target: Descriptor,
): Promise<StoredAttestation[]> {
  if (!isIndexType(target.mediaType)) return [];
  const origin = { name, hop: 'store' } as const;
  const bytes = await bytesIn(store, target.digest);
  const entries = bytes === undefined ? [] : attestationEntries(parseIndex(bytes, origin).manifests);
  const found: StoredAttestation[] = [];
  for (const { entry, about } of entries) {
    if (isDue()) await nextTurn();
    const manifest = await bytesIn(store, entry.digest);
    if (manifest === undefined) continue;
    const document = parseManifest(manifest, origin);
    const infos = await Promise.all(blobsOf(document).map(({ digest }) => store.content.info(digest)));
    if (infos.every((info) => info !== undefined)) found.push({ entry, document, about });
  }
  return found;
}

/**
 * Checks that an attestation's own subject is the image that the index says it is about: otherwise statements about one
 * image would be shown for another. Throws `corrupt`. Attestations in the form of images have no subject.
 */
export function checkSubject(
  { entry, document: { subject }, about }: StoredAttestation,
  { name, hop }: DocumentOrigin,
): void {
  if (subject === undefined || subject?.digest === about) return;
  const other = JSON.stringify(subject?.digest ?? null);
  throw fail(
    'corrupt',
    hop,
    `${name}: the attestation ${entry.digest} has the subject ${other}, and its index says that it is about ${about}`,
    {
      hint: 'Somebody has put the index together wrongly, or wants statements to be taken for those of another image: have the image made again.',
    },
  );
}

/** Lists the blobs of an attestation: its config and the statements. */
export function blobsOf({ config, layers }: Manifest): Descriptor[] {
  return [config, ...layers];
}

async function bytesIn(store: Store, digest: Digest): Promise<Buffer | undefined> {
  try {
    return await store.content.bytes(digest);
  } catch (err) {
    if (err instanceof DrydockError && (err.code === 'not-found' || err.code === 'corrupt')) return undefined;
    throw err;
  }
}
