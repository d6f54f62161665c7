/** Attestations of images: their statements and manifests in content, and entries in the index. */
import {
  type Attestation,
  attestationEntry,
  attestationManifest,
  digestSet,
  imagePurl,
  statementBytes,
} from '../attest/index.ts';
import { fail } from '../errors/index.ts';
import type { Descriptor, Platform } from '../oci/index.ts';
import type { ImageAttrs } from './attrs.ts';
import type { ExportContext, ExportRequest } from './types.ts';

/** How attestations go with an image. */
export interface AttestationOptions {
  /** Those that are for images with an index anyway make an index of every image. */
  inline: boolean;
  /** Manifests refer to their images as OCI artifacts do. */
  artifact: boolean;
}

/** What an image's statements are committed as. */
export interface CommittedAttestations {
  /** The entry in the index. */
  entry: Descriptor;
  /** The config first. */
  blobs: readonly Descriptor[];
}

/**
 * How the attestations of results go with an image; undefined: it has none. `dockerTypes`: the image has docker's media
 * types where nothing is said. Throws `unsupported` where they are asked for and docker's media types are, too.
 */
export function attestationOptions(
  { ociTypes, ociArtifact, attestationInline: inline }: ImageAttrs,
  { results, dockerTypes = false }: Pick<ExportRequest, 'results' | 'dockerTypes'>,
): AttestationOptions | undefined {
  const all = results.flatMap(({ attestations = [] }) => attestations);
  if (ociTypes === false) {
    const vain = ociArtifact === true || all.some(({ inlineOnly }) => !inlineOnly);
    if (!vain) return undefined;
    throw fail('unsupported', 'export', 'cannot export attestations with "oci-mediatypes=false"', {
      hint: "They need the OCI's media types: leave oci-mediatypes out.",
    });
  }
  if (all.length === 0) return undefined;
  return { inline, artifact: ociArtifact ?? !dockerTypes };
}

interface AttestedImage {
  descriptor: Descriptor;
  platform: Platform;
  layers: readonly Descriptor[];
}

/** The attestations of each result that go with the image; `isIndex`: the image has an index whatever comes of it. */
export function wantedAttestations(
  { results }: Pick<ExportRequest, 'results'>,
  options: AttestationOptions | undefined,
  isIndex: boolean,
): (readonly Attestation[])[] {
  const all = results.map(({ attestations = [] }) => attestations);
  if (options === undefined) return all.map(() => []);
  if (options.inline || isIndex) return all;
  return all.map((list) => list.filter(({ inlineOnly }) => !inlineOnly));
}

/** Puts the statements about an image, and their manifest, into content. `names`: of the image, normalized. */
export async function commitAttestations(
  { descriptor, platform, layers }: AttestedImage,
  attestations: readonly Attestation[],
  names: readonly string[],
  { artifact }: AttestationOptions,
  { store, lease }: Pick<ExportContext, 'store' | 'lease'>,
  put: (document: ReturnType<typeof attestationManifest>['manifest']) => Promise<Descriptor>,
): Promise<CommittedAttestations> {
  const digest = digestSet(descriptor.digest);
  const subject = names.map((name) => ({ name: imagePurl(name, { platform }), digest }));
  // Of an image without a name the digest alone says which it is.
  if (subject.length === 0) subject.push({ name: '_', digest });
  const statements: { predicateType: string; bytes: Buffer }[] = [];
  for (const { predicateType, predicate } of attestations) {
    const bytes = statementBytes({ predicateType, subject, predicate: await predicate(layers) });
    statements.push({ predicateType, bytes });
  }
  const { manifest, blobs } = attestationManifest(descriptor, statements, artifact);
  for (const { bytes } of blobs) await store.content.put(bytes, { lease });
  const committed = await put(manifest);
  return {
    entry: attestationEntry(committed, descriptor.digest),
    blobs: blobs.map((blob) => blob.descriptor),
  };
}
