/** `drydock pull`: brings an image from a registry into the store. Its layers come as blobs, unpacked when needed. */
import {
  attestationEntries,
  blobsOf,
  checkSubject,
  type FetchContext,
  fetchBlobInto,
  type ImageDocuments,
  type ImageTrust,
  isImageEntry,
  noteOrigin,
  parseIndex,
  parseManifest,
  platformList,
  readDocuments,
  registryDocuments,
  resolveTarget,
  withLease,
} from '../distribution/index.ts';
import { DrydockError, fail } from '../errors/index.ts';
import {
  type CredentialSource,
  type Descriptor,
  type Digest,
  familiarName,
  formatReference,
  hostPlatform,
  isIndexType,
  normalizeName,
  type Platform,
  parseReference,
} from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import { contentRefLabels, gcLabels, type ImageRecord, type Store } from '../store/index.ts';
import { nameImage } from './name.ts';

interface PullOptions {
  /** Default: the host's platform. */
  platform?: Platform;
  /** Pulls all platforms of an index. */
  all?: boolean;
  /** A lease that keeps the pulled blobs besides the image's name; default: one that ends with the pull. */
  lease?: string;
  /** Reports the bytes of each blob, under its digest. */
  report?: ReportStatus;
  signal?: AbortSignal;
  credentials?: CredentialSource;
  /** Judges the image before its layers are fetched; undefined: any may be pulled. */
  trust?: ImageTrust;
}

interface Pulled {
  record: ImageRecord;
  /** The image's ID (config digest) for the platform, or for the first of all. */
  id: Digest;
  /** Whether the name pointed to another image before, or to none. */
  changed: boolean;
}

/**
 * Pulls an image by tag or digest and names it. Blobs in content are not fetched again, and a later pull continues
 * where this one stopped. Throws the registry's errors, `not-found` with the available platforms, `corrupt`,
 * `canceled`.
 *
 *     const { id, changed } = await pullImage(store, client, 'alpine:3', { all: true });
 */
export async function pullImage(
  store: Store,
  client: RegistryClient,
  ref: string,
  options: PullOptions = {},
): Promise<Pulled> {
  const name = normalizeName(ref);
  const parsed = parseReference(name);
  return withLease(store, options.lease, async (lease) => {
    const ctx: FetchContext = {
      lease,
      signal: options.signal,
      report: options.report,
      credentials: options.credentials,
    };
    const target = await resolveTarget(store, client, name, ctx);
    const source = registryDocuments(store, client, name, ctx);
    const images: ImageDocuments[] = [];
    if (options.all && isIndexType(target.mediaType)) {
      const bytes = await source.bytes(target);
      const index = parseIndex(bytes, source.origin);
      const labels: Record<string, string> = {};
      for (const [i, child] of index.manifests.entries()) {
        if (!isImageEntry(child) || isIndexType(child.mediaType)) continue;
        images.push(await readDocuments(store, source, child, child.platform ?? hostPlatform(), lease));
        labels[`${gcLabels.content}.m.${i}`] = child.digest;
      }
      if (images.length === 0) {
        throw fail(
          'not-found',
          'registry',
          `${familiarName(name)}: the index holds no image (${platformList(index)})`,
        );
      }
      await store.content.put(bytes, { lease, labels });
    } else {
      images.push(await readDocuments(store, source, target, options.platform ?? hostPlatform(), lease));
    }
    const one = images.length === 1 ? images[0]?.manifest : undefined;
    await options.trust?.check(name, { target, manifest: one }, options);
    await fetchLayers(store, client, name, images, ctx);
    await fetchAttestations({ store, client, name, source }, target, images, ctx);
    await noteOrigin(store, name, [target.digest, ...images.map(({ manifest }) => manifest.digest)]);
    // Docker does so: a digest names the image for good, and a tag beside it adds nothing.
    const kept = parsed.digest === undefined ? name : formatReference({ ...parsed, tag: undefined });
    const before = await store.images.get(kept);
    const record = await nameImage(store, kept, plain(target));
    const id = (images[0] as ImageDocuments).configDescriptor.digest;
    return { record, id, changed: before?.target.digest !== target.digest };
  });
}

function plain({ mediaType, digest, size }: ImageRecord['target']): ImageRecord['target'] {
  return { mediaType, digest, size };
}

async function fetchLayers(
  store: Store,
  client: RegistryClient,
  name: string,
  images: readonly ImageDocuments[],
  ctx: FetchContext,
): Promise<void> {
  const stop = new AbortController();
  const signal = ctx.signal === undefined ? stop.signal : AbortSignal.any([ctx.signal, stop.signal]);
  const fetches = images.map(async ({ manifest, document }) => {
    const layers = document.layers;
    await Promise.all(layers.map((layer) => fetchBlobInto(store, client, name, layer, { ...ctx, signal })));
    const labels = Object.fromEntries(layers.map(({ digest }, i) => [`${gcLabels.content}.l.${i}`, digest]));
    await store.content.setLabels(manifest.digest, labels);
  });
  try {
    await Promise.all(fetches);
  } catch (err) {
    stop.abort(err);
    await Promise.allSettled(fetches);
    throw err;
  }
}

interface PullSource {
  store: Store;
  client: RegistryClient;
  name: string;
  source: ReturnType<typeof registryDocuments>;
}

/** Fetches what the index states of the images that were pulled; what the registry does not have is left out. */
async function fetchAttestations(
  { store, client, name, source }: PullSource,
  target: Descriptor,
  images: readonly ImageDocuments[],
  ctx: FetchContext,
): Promise<void> {
  if (!isIndexType(target.mediaType)) return;
  const { manifests } = parseIndex(await source.bytes(target), source.origin);
  const pulled = new Set<string>(images.map(({ manifest }) => manifest.digest));
  for (const [i, { entry, about }] of attestationEntries(manifests).entries()) {
    if (!pulled.has(about)) continue;
    try {
      const bytes = await source.bytes(entry);
      const document = parseManifest(bytes, source.origin);
      checkSubject({ entry, document, about }, source.origin);
      const blobs = blobsOf(document);
      for (const blob of blobs) await fetchBlobInto(store, client, name, blob, ctx);
      await store.content.put(bytes, { lease: ctx.lease, labels: contentRefLabels(blobs) });
      await store.content.setLabels(target.digest, { [`${gcLabels.content}.a.${i}`]: entry.digest });
    } catch (err) {
      if (!(err instanceof DrydockError) || err.code !== 'not-found') throw err;
    }
  }
}
