/**
 * In-toto's statements, and the manifests that hold them beside the images that they are about. Pure.
 * https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
 * https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md
 */
import { type Descriptor, type Digest, digestOf, type Manifest, mediaTypes } from '../oci/index.ts';
import type { StatedSubject, Subject } from './types.ts';

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
  /** An object, or its JSON as it is to stand there; JSON of no bytes means null. */
  predicate: object | Buffer;
}

/** Writes a statement as JSON, indented by `indent` spaces where it is not given as JSON. */
export function statementBytes({ predicateType, subject, predicate }: Statement, indent = 0): Buffer {
  const statement = { _type: statementType, predicateType, subject };
  const space = indent || undefined;
  if (!(predicate instanceof Buffer))
    return Buffer.from(JSON.stringify({ ...statement, predicate }, undefined, space));
  const head = JSON.stringify(statement, undefined, space).replace(/\s*\}$/, '');
  const lead = indent === 0 ? ',"predicate":' : `,\n${' '.repeat(indent)}"predicate": `;
  const json = predicate.length === 0 ? Buffer.from('null') : predicate;
  return Buffer.concat([Buffer.from(head + lead), json, Buffer.from(indent === 0 ? '}' : '\n}')]);
}

/** Names the subjects of a statement. `own`: those that the result itself is, by its names. */
export function subjectsOf(stated: readonly StatedSubject[] | undefined, own: readonly Subject[]): Subject[] {
  const list: readonly StatedSubject[] =
    stated === undefined || stated.length === 0 ? [{ kind: 'self' }] : stated;
  return list.flatMap((each) => {
    if (each.kind === 'raw') return [{ name: each.name || '_', digest: each.digest }];
    const further = each.name || undefined;
    return own.flatMap(({ name, digest }) =>
      (further === undefined ? [name] : [name, further]).map((given) => ({ name: given, digest })),
    );
  });
}

/** A statement as a blob. `bytes` are missing when it is known to be in content. */
export interface StatementBlob extends Pick<Descriptor, 'digest' | 'size'> {
  predicateType: string;
  bytes?: Buffer;
}

/** The manifest of statements about one image, with the blobs that it names. */
interface AttestationManifest {
  manifest: Manifest;
  /** The config first. */
  blobs: { descriptor: Descriptor; bytes?: Buffer }[];
}

/**
 * Makes the manifest of statements about the image `target`: an OCI artifact that names the image as its subject, or,
 * without `artifact`, a manifest that looks like an image's.
 */
export function attestationManifest(
  target: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>,
  statements: readonly StatementBlob[],
  artifact: boolean,
): AttestationManifest {
  const layers = statements.map(({ predicateType, digest, size, bytes }) => ({
    descriptor: {
      mediaType: statementMediaType,
      digest,
      size,
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
    // So nobody need fetch it.
    ...(artifact ? { data: config.toString('base64') } : {}),
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
