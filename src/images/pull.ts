/** `drydock pull`: brings an image from a registry into the store. Its layers come as blobs, unpacked when needed. */
import {
  type FetchContext,
  fetchBlobInto,
  type ImageDocuments,
  isImageEntry,
  parseIndex,
  platformList,
  readDocuments,
  registryDocuments,
  resolveTarget,
  withLease,
} from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import {
  type CredentialSource,
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
import { gcLabels, type ImageRecord, type Store } from '../store/index.ts';
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
    await fetchLayers(store, client, name, images, ctx);
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
