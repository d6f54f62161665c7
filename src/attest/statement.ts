/**
 * In-toto's statements, and the manifests that hold them beside the images that they are about. Pure.
 * https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
 * https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md
 */
import { type Descriptor, type Digest, digestOf, type Manifest, mediaTypes } from '../oci/index.ts';
import type { Subject } from './types.ts';

const statementType = 'https://in-toto.io/Statement/v1';
/** Media type of a statement, as in images and in records of builds. */
export const statementMediaType = 'application/vnd.in-toto+json';
/** The annotation of a statement's descriptor that has the type of the predicate. */
export const predicateTypeKey = 'in-toto.io/predicate-type';
const artifactType = 'application/vnd.docker.attestation.manifest.v1+json';
const emptyMediaType = 'application/vnd.oci.empty.v1+json';
/** The platform of an attestation manifest. Nobody can run it. */
const noPlatform = { architecture: 'unknown', os: 'unknown' } as const;

interface Statement {
  predicateType: string;
  subject: readonly Subject[];
  predicate: object;
}

/** Writes a statement as JSON, indented by `indent` spaces. */
export function statementBytes({ predicateType, subject, predicate }: Statement, indent = 0): Buffer {
  const statement = { _type: statementType, predicateType, subject, predicate };
  return Buffer.from(JSON.stringify(statement, undefined, indent || undefined));
}

/** The manifest of statements about one image, with the blobs that it names. */
interface AttestationManifest {
  manifest: Manifest;
  /** The config first. */
  blobs: { descriptor: Descriptor; bytes: Buffer }[];
}

/**
 * Makes the manifest of statements about the image `target`: an OCI artifact that names the image as its subject, or,
 * without `artifact`, a manifest that looks like an image's.
 */
export function attestationManifest(
  target: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>,
  statements: readonly { predicateType: string; bytes: Buffer }[],
  artifact: boolean,
): AttestationManifest {
  const layers = statements.map(({ predicateType, bytes }) => ({
    descriptor: {
      mediaType: statementMediaType,
      digest: digestOf(bytes),
      size: bytes.length,
      annotations: { [predicateTypeKey]: predicateType },
    },
    bytes,
  }));
  const diffIds = layers.map(({ descriptor }) => descriptor.digest);
  const config = Buffer.from(
    artifact
      ? '{}'
      : JSON.stringify({ ...noPlatform, config: {}, rootfs: { type: 'layers', diff_ids: diffIds } }),
  );
  const described: Descriptor = {
    mediaType: artifact ? emptyMediaType : mediaTypes.ociConfig,
    digest: digestOf(config),
    size: config.length,
  };
  const { mediaType, digest, size } = target;
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    ...(artifact ? { artifactType } : {}),
    config: described,
    layers: layers.map(({ descriptor }) => descriptor),
    ...(artifact ? { subject: { mediaType, digest, size } } : {}),
  };
  return { manifest, blobs: [{ descriptor: described, bytes: config }, ...layers] };
}

/** Makes the entry of an attestation manifest in an index that lists the image `of`. */
export function attestationEntry(manifest: Descriptor, of: Digest): Descriptor {
  return {
    ...manifest,
    annotations: {
      'vnd.docker.reference.digest': of,
      'vnd.docker.reference.type': 'attestation-manifest',
    },
    platform: { ...noPlatform },
  };
}
