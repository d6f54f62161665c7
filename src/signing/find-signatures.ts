/**
 * Finds the signatures of a manifest in its repository: bundles that refer to it (cosign 3), and the signatures under
 * its tag `sha256-….sig` (cosign before). None of them is checked here.
 * https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
 */
import { DrydockError, fail } from '../errors/index.ts';
import {
  type CredentialSource,
  type Descriptor,
  type Digest,
  documentExcess,
  familiarName,
  formatReference,
  hex,
  isDigest,
  parseReference,
} from '../oci/index.ts';
import type { Referrer, RegistryClient } from '../registry/index.ts';

/** The media type of bundles, and of the manifests that hold them. */
export const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const simpleType = 'application/vnd.dev.cosign.simplesigning.v1+json';
const emptyType = 'application/vnd.oci.empty.v1+json';

/** The most signatures of an image that are looked at, and the largest of them, in bytes. */
export const maxSignatures = 200;
const maxSignature = 1 << 20;
/** The most bytes of all signatures of an image. */
const maxAll = 32 << 20;

/** A signature that has not been checked. */
export type Candidate = {
  /** The digest of its blob: the bundle, or the payload. */
  digest: Digest;
} & (
  | { kind: 'bundle'; bytes: Buffer }
  | { kind: 'simple'; payload: Buffer; annotations: Readonly<Record<string, string>> }
  | { kind: 'unreadable'; flaw: string }
);

export interface FindContext {
  credentials?: CredentialSource;
  signal?: AbortSignal;
}

/** The signatures of a manifest, and how many more there are than are looked at. Throws the registry's errors. */
export async function findSignatures(
  client: RegistryClient,
  ref: string,
  digest: Digest,
  ctx: FindContext,
): Promise<{ found: Candidate[]; more: number }> {
  const finder = new Finder(client, ref, digest, ctx);
  await finder.bundles();
  await finder.tagged();
  return { found: finder.found, more: finder.more };
}

class Finder {
  readonly found: Candidate[] = [];
  more = 0;
  readonly #client: RegistryClient;
  readonly #digest: Digest;
  readonly #ctx: FindContext;
  readonly #repository: { domain: string; path: string };
  #bytes = 0;

  constructor(client: RegistryClient, ref: string, digest: Digest, ctx: FindContext) {
    this.#client = client;
    this.#digest = digest;
    this.#ctx = ctx;
    const { domain, path } = parseReference(ref);
    this.#repository = { domain, path };
  }

  async bundles(): Promise<void> {
    const list = await this.#client.referrers(this.#at(this.#digest), {
      ...this.#ctx,
      artifactType: bundleType,
    });
    // go-containerregistry writes the type of the config into the list under a tag.
    const those = list.filter(
      ({ artifactType = emptyType }) => artifactType === bundleType || artifactType === emptyType,
    );
    // The newest are last in a list under a tag.
    for (const each of those.reverse()) {
      if (this.found.length >= maxSignatures) this.more++;
      else await this.#bundlesOf(each);
    }
  }

  async #bundlesOf({ digest }: Referrer): Promise<void> {
    const document = await this.#manifest(this.#at(digest));
    if (document === undefined) {
      this.found.push({ digest, kind: 'unreadable', flaw: 'its manifest is not there' });
      return;
    }
    for (const layer of layersOf(document).filter(({ mediaType }) => mediaType === bundleType)) {
      await this.#take(layer, (bytes) => ({ digest: layer.digest, kind: 'bundle', bytes }));
    }
  }

  async tagged(): Promise<void> {
    const { domain, path } = this.#repository;
    const document = await this.#manifest(
      formatReference({ domain, path, tag: `sha256-${hex(this.#digest)}.sig` }),
    );
    for (const layer of layersOf(document ?? {}).filter(({ mediaType }) => mediaType === simpleType)) {
      const { digest, annotations = {} } = layer;
      await this.#take(layer, (payload) => ({ digest, kind: 'simple', payload, annotations }));
    }
  }

  async #take(layer: Descriptor, candidate: (bytes: Buffer) => Candidate): Promise<void> {
    if (this.found.length >= maxSignatures || this.#bytes + layer.size > maxAll) {
      this.more++;
      return;
    }
    const { digest, size } = layer;
    if (size > maxSignature) {
      const flaw = `it has ${size} bytes, more than ${maxSignature >> 20} MiB`;
      this.found.push({ digest, kind: 'unreadable', flaw });
      return;
    }
    this.#bytes += size;
    try {
      const parts: Buffer[] = [];
      for await (const part of await this.#client.blob(this.#at(digest), { digest, size }, this.#ctx))
        parts.push(part);
      this.found.push(candidate(Buffer.concat(parts)));
    } catch (err) {
      if (!(err instanceof DrydockError) || (err.code !== 'not-found' && err.code !== 'corrupt')) throw err;
      this.found.push({ digest, kind: 'unreadable', flaw: err.message });
    }
  }

  /** A manifest of the repository; undefined when it is not there. */
  async #manifest(ref: string): Promise<Record<string, unknown> | undefined> {
    try {
      const { bytes } = await this.#client.manifest(ref, this.#ctx);
      const excess = documentExcess(bytes);
      if (excess !== undefined) throw fail('exhausted', 'registry', `${familiarName(ref)}: it has ${excess}`);
      return JSON.parse(bytes.toString('utf8'));
    } catch (err) {
      if (err instanceof DrydockError && err.code === 'not-found') return undefined;
      throw err;
    }
  }

  #at(digest: Digest): string {
    return formatReference({ ...this.#repository, digest });
  }
}

function layersOf({ layers }: Record<string, unknown>): Descriptor[] {
  if (!Array.isArray(layers)) return [];
  return layers.filter(
    (layer: Partial<Descriptor> | null) =>
      typeof layer?.digest === 'string' &&
      isDigest(layer.digest) &&
      Number.isSafeInteger(layer.size) &&
      (layer.size as number) >= 0,
  );
}
