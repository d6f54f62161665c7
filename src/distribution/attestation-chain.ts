/**
 * What is stated of an image, with the documents that lead there, for those who check it: from the index to the
 * manifest of statements, the statements, and the signature of that manifest.
 */
import { DrydockError, fail } from '../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  digestOf,
  formatReference,
  isManifestType,
  mediaTypes,
  type Platform,
  parseReference,
} from '../oci/index.ts';
import type { Referrer, RegistryClient } from '../registry/index.ts';
import type { Store } from '../store/index.ts';
import { aboutOf, checkSubject } from './attestations.ts';
import { parseIndex, parseManifest, rankPlatforms } from './documents.ts';
import type { FetchContext } from './fetch.ts';
import { registryDocuments, storeDocuments } from './resolve.ts';

/** The chain of one platform's image. */
export interface AttestationChain {
  /** The index. */
  root: Digest;
  image: Digest;
  /** The manifest of the statements; undefined when there is none. */
  attestation?: Digest;
  /** The manifests of its signatures. */
  signatures: Digest[];
  /** The index, the manifests but the image's own, the signatures, and the statements that were asked for. */
  blobs: { descriptor: Descriptor; bytes: Buffer }[];
}

/**
 * The types of signatures' manifests; sigstore's bundles come before cosign's own form. Signatures under a tag
 * (`sha256-….sig`) have no subject, by which those who check a chain could tell whose they are.
 */
const signatureTypes = [
  'application/vnd.dev.sigstore.bundle.v0.3+json',
  'application/vnd.dev.cosign.artifact.sig.v1+json',
];
/** What go-containerregistry, and so cosign, writes into a list under a tag in the place of an artifact's type. */
const emptyType = 'application/vnd.oci.empty.v1+json';
/** The most manifests that are read to learn their types. */
const maxTypeless = 50;
/** The most bytes of all documents of a chain. */
const maxAll = 12 << 20;

interface ChainOptions extends FetchContext {
  platform: Platform;
  /** Types of the predicates whose statements are wanted. */
  predicateTypes: readonly string[];
  /** Whether the image is the store's own, and no registry is asked. */
  local: boolean;
}

/**
 * Follows the chain of the image that `target` is, under a name. Undefined for an image without an index of the OCI's.
 * Throws `not-found` when the index has no image for the platform, `exhausted` when the documents have more than 12 MiB,
 * `corrupt`, and the registry's errors.
 */
export async function attestationChain(
  store: Store,
  client: RegistryClient,
  name: string,
  target: Descriptor,
  options: ChainOptions,
): Promise<AttestationChain | undefined> {
  if (target.mediaType !== mediaTypes.ociIndex) return undefined;
  const reader = new ChainReader(store, client, name, options);
  const index = parseIndex(await reader.add(target), reader.origin);
  const image = rankPlatforms(index, options.platform).find(({ mediaType }) => isManifestType(mediaType));
  if (image === undefined) {
    throw fail('not-found', reader.origin.hop, `${reader.origin.name}: no image for the platform`);
  }
  const chain = { root: target.digest, image: image.digest, signatures: [] as Digest[], blobs: reader.blobs };
  const entry = index.manifests.find((each) => aboutOf(each) === image.digest);
  if (entry === undefined) return chain;
  const manifest = parseManifest(await reader.add(entry), reader.origin);
  checkSubject({ entry, document: manifest, about: image.digest }, reader.origin);
  for (const layer of manifest.layers) {
    const type = layer.annotations?.['in-toto.io/predicate-type'];
    if (type !== undefined && options.predicateTypes.includes(type)) await reader.add(layer);
  }
  const signature = await reader.signatureOf(entry.digest);
  if (signature !== undefined) {
    chain.signatures.push(signature.digest);
    const signed = parseManifest(await reader.add(signature), reader.origin);
    for (const layer of signed.layers) await reader.add(layer);
  }
  return { ...chain, attestation: entry.digest };
}

class ChainReader {
  readonly blobs: AttestationChain['blobs'] = [];
  readonly #store: Store;
  readonly #client: RegistryClient;
  readonly #name: string;
  readonly #options: ChainOptions;
  readonly #documents: ReturnType<typeof storeDocuments>;
  #size = 0;

  constructor(store: Store, client: RegistryClient, name: string, options: ChainOptions) {
    this.#store = store;
    this.#client = client;
    this.#name = name;
    this.#options = options;
    this.#documents = options.local
      ? storeDocuments(store, name)
      : registryDocuments(store, client, name, options);
  }

  get origin() {
    return this.#documents.origin;
  }

  /** Reads a document and keeps it with the chain. */
  async add(descriptor: Descriptor): Promise<Buffer> {
    const { digest, size } = descriptor;
    this.#size += size;
    const { name, hop } = this.origin;
    if (this.#size > maxAll) {
      throw fail('exhausted', hop, `${name}: what is stated of it has more than ${maxAll} bytes`);
    }
    const bytes = await this.#bytes(descriptor);
    if (bytes.length !== size || digestOf(bytes) !== digest) {
      throw fail('corrupt', hop, `${name}: ${digest} is not what its digest says`);
    }
    this.blobs.push({ descriptor, bytes });
    return bytes;
  }

  async #bytes(descriptor: Descriptor): Promise<Buffer> {
    if (this.#options.local || isManifestType(descriptor.mediaType)) return this.#documents.bytes(descriptor);
    if (descriptor.mediaType === mediaTypes.ociIndex) return this.#documents.bytes(descriptor);
    const known = await this.#store.content.bytes(descriptor.digest).catch(() => undefined);
    if (known !== undefined) return known;
    const { domain, path } = parseReference(this.#name);
    const pinned = formatReference({ domain, path, digest: descriptor.digest });
    const parts: Buffer[] = [];
    for await (const part of await this.#client.blob(pinned, descriptor, this.#options)) parts.push(part);
    return Buffer.concat(parts);
  }

  /** Finds the signature of a manifest; a store of our own has none. */
  async signatureOf(digest: Digest): Promise<Referrer | undefined> {
    if (this.#options.local) return undefined;
    const { credentials, signal } = this.#options;
    const { domain, path } = parseReference(this.#name);
    const all = await this.#client.referrers(formatReference({ domain, path, digest }), {
      credentials,
      signal,
    });
    const rank = ({ artifactType = '' }: Referrer) => signatureTypes.indexOf(artifactType);
    const listed = all.filter((each) => rank(each) >= 0).sort((a, b) => rank(a) - rank(b))[0];
    if (listed !== undefined && rank(listed) === 0) return listed;
    const typeless = all.filter(
      ({ artifactType = emptyType, mediaType }) => artifactType === emptyType && isManifestType(mediaType),
    );
    // The newest are last in a list under a tag.
    for (const each of typeless.slice(-maxTypeless).reverse()) {
      const artifactType = await this.#typeOf(each);
      if (artifactType === signatureTypes[0]) return { ...each, artifactType };
    }
    return listed;
  }

  /** What the manifest itself says that it is; undefined where it says nothing, or is not there. */
  async #typeOf(referrer: Referrer): Promise<string | undefined> {
    try {
      const { artifactType } = parseManifest(await this.#documents.bytes(referrer), this.origin);
      return artifactType;
    } catch (err) {
      if (err instanceof DrydockError && ['not-found', 'corrupt', 'unsupported'].includes(err.code)) return;
      throw err;
    }
  }
}
