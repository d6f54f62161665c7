/** Signs images in a registry. */
import { fail } from '../errors/index.ts';
import {
  type CredentialSource,
  type Descriptor,
  type Digest,
  digestOf,
  familiarName,
  formatReference,
  isIndexType,
  isManifestType,
  mediaTypes,
  normalizeName,
  parseReference,
} from '../oci/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import { bundleType } from './find-signatures.ts';
import { makeBundle, type SignerChoice } from './make-bundle.ts';
import type { SigningServices } from './options.ts';
import { Services } from './services.ts';
import { signPredicate } from './statement.ts';

/** The most images of an index that are signed one by one. */
const maxImages = 1000;

interface SignOptions {
  signer: SignerChoice;
  services: SigningServices;
  annotations?: Readonly<Record<string, string>>;
  /** Also signs each manifest that an index lists. */
  recursive?: boolean;
  credentials?: CredentialSource;
  signal?: AbortSignal;
}

/** A signature that the registry has now. */
interface SignedManifest {
  /** The digest that was signed. */
  digest: Digest;
  /** The digest of the signature's manifest. */
  signature: Digest;
}

/**
 * Signs the image that a reference names: its index or manifest, and, if that is wished, each manifest of the index.
 * The signature is a manifest of its own in the same repository, which has the image as its subject. Throws the
 * registry's and the services' errors.
 *
 *     const [{ digest }] = await signImage(client, 'reg.example/app:1', { signer: { key }, services });
 */
export async function signImage(
  client: RegistryClient,
  ref: string,
  options: SignOptions,
): Promise<SignedManifest[]> {
  const { credentials, signal } = options;
  const name = normalizeName(ref);
  const { domain, path } = parseReference(name);
  const found = await client.manifest(name, { credentials, signal });
  const subjects: Descriptor[] = [found.descriptor];
  if (options.recursive && isIndexType(found.descriptor.mediaType)) {
    const { manifests } = JSON.parse(found.bytes.toString('utf8')) as { manifests?: Descriptor[] };
    const list = (manifests ?? []).filter(({ mediaType }) => isManifestType(mediaType));
    if (list.length > maxImages) {
      throw fail('exhausted', 'registry', `${familiarName(name)} lists more than ${maxImages} images`);
    }
    subjects.push(...list);
  }
  const services = new Services(signal);
  try {
    const signed: SignedManifest[] = [];
    for (const { mediaType, digest, size } of subjects) {
      const at = formatReference({ domain, path, digest });
      const signature = await signOne(client, at, { mediaType, digest, size }, options, services);
      signed.push({ digest, signature });
    }
    return signed;
  } finally {
    services.close();
  }
}

async function signOne(
  client: RegistryClient,
  ref: string,
  subject: Descriptor,
  { signer, services: at, annotations = {}, credentials, signal }: SignOptions,
  services: Services,
): Promise<Digest> {
  const ctx = { credentials, signal };
  const bundle = await makeBundle(subject.digest, annotations, signer, at, services);
  const empty = Buffer.from('{}');
  const config = {
    mediaType: 'application/vnd.oci.empty.v1+json',
    digest: digestOf(empty),
    size: empty.length,
  };
  const layer = { mediaType: bundleType, digest: digestOf(bundle), size: bundle.length };
  await client.pushBlob(ref, config, async () => empty, ctx);
  await client.pushBlob(ref, layer, async () => bundle, ctx);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      artifactType: bundleType,
      config,
      layers: [layer],
      subject,
      annotations: {
        'dev.sigstore.bundle.content': 'dsse-envelope',
        'dev.sigstore.bundle.predicateType': signPredicate,
        'org.opencontainers.image.created': new Date().toISOString().replace(/\.\d+/, ''),
      },
    }),
  );
  const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(manifest), size: manifest.length };
  await client.attach(ref, { ...descriptor, artifactType: bundleType }, manifest, ctx);
  return descriptor.digest;
}
