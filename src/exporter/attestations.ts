/** Attestations of images: their statements and manifests in content, and entries in the index. */
import {
  type Attestation,
  attestationEntry,
  attestationManifest,
  digestSet,
  imagePurl,
  type StatementBlob,
  subjectsOf,
} from '../attest/index.ts';
import { fail } from '../errors/index.ts';
import type { Descriptor, Platform } from '../oci/index.ts';
import type { Ref } from '../store/index.ts';
import type { ImageAttrs } from './attrs.ts';
import { contextOf } from './layers.ts';
import { statementOf } from './statements.ts';
import type { ExportContext, ExportRequest } from './types.ts';

/** Says which attestations go with an image, and in which form. */
export interface AttestationOptions {
  /** Keeps the attestations that are inline-only: always, with an index that there is anyway, or never. */
  inline: 'always' | 'with-index' | 'never';
  /** Makes their manifests OCI artifacts. */
  artifact: boolean;
}

/** The statements about one image, in content. */
export interface CommittedAttestations {
  /** The entry in the index. */
  entry: Descriptor;
  /** The config first. */
  blobs: readonly Descriptor[];
}

/**
 * Says how the attestations of results go with an image; undefined when none do. `inline`: what becomes of those that are
 * inline-only, unless the output says so. `dockerTypes`: the image has docker's media types by default. Throws
 * `unsupported` when attestations are asked for together with docker's media types.
 */
export function attestationOptions(
  { ociTypes, ociArtifact, attestationInline }: ImageAttrs,
  { results, dockerTypes = false }: Pick<ExportRequest, 'results' | 'dockerTypes'>,
  inline: AttestationOptions['inline'],
): AttestationOptions | undefined {
  const all = results.flatMap(({ attestations = [] }) => attestations);
  const asked = all.filter(({ inlineOnly }) => !inlineOnly);
  if (ociTypes === false) {
    if (ociArtifact !== true && asked.length === 0) return undefined;
    throw fail('unsupported', 'export', 'cannot export attestations with "oci-mediatypes=false"', {
      hint: "They need the OCI's media types: leave oci-mediatypes out.",
    });
  }
  const without = results.length > 1 ? 'with-index' : 'never';
  const chosen = attestationInline === undefined ? inline : attestationInline ? 'always' : without;
  if ((chosen === 'never' ? asked : all).length === 0) return undefined;
  return { inline: chosen, artifact: ociArtifact ?? !dockerTypes };
}

interface AttestedImage {
  descriptor: Descriptor;
  platform: Platform;
  layers: readonly Descriptor[];
  ref: Ref | undefined;
}

/** Lists the attestations of each result that go with the image. `isIndex`: the image has an index without them, too. */
export function wantedAttestations(
  { results }: Pick<ExportRequest, 'results'>,
  options: AttestationOptions | undefined,
  isIndex: boolean,
): (readonly Attestation[])[] {
  const all = results.map(({ attestations = [] }) => attestations);
  if (options === undefined) return all.map(() => []);
  if (options.inline === 'always' || (isIndex && options.inline === 'with-index')) return all;
  return all.map((list) => list.filter(({ inlineOnly }) => !inlineOnly));
}

/** Puts the statements about an image and their manifest into content. `names`: the image's names, normalized. */
export async function commitAttestations(
  { descriptor, platform, layers, ref }: AttestedImage,
  attestations: readonly Attestation[],
  names: readonly string[],
  { artifact }: AttestationOptions,
  ctx: ExportContext,
  put: (document: ReturnType<typeof attestationManifest>['manifest']) => Promise<Descriptor>,
): Promise<CommittedAttestations> {
  const { store, lease } = ctx;
  const digest = digestSet(descriptor.digest);
  const own = names.map((name) => ({ name: imagePurl(name, { platform }), digest }));
  // Of an image without a name the digest alone says which it is.
  if (own.length === 0) own.push({ name: '_', digest });
  const statements: StatementBlob[] = [];
  const image = { layers, view: async () => ref?.view(contextOf(ctx)) };
  for (const attestation of attestations) {
    const subject = subjectsOf(attestation.subjects, own);
    statements.push(await statementOf(attestation, subject, image, ctx));
  }
  const { manifest, blobs } = attestationManifest(descriptor, statements, artifact);
  for (const { bytes } of blobs) if (bytes !== undefined) await store.content.put(bytes, { lease });
  const committed = await put(manifest);
  return {
    entry: attestationEntry(committed, descriptor.digest),
    blobs: blobs.map((blob) => blob.descriptor),
  };
}
