/** Brings the blobs of a stored image into content, from wherever they are. */
import { createGzip } from 'node:zlib';
import {
  type FetchContext,
  fetchBlobInto,
  isPublished,
  originOf,
  type StoredImage,
} from '../distribution/index.ts';
import { canceled, DrydockError, throwIfAborted } from '../errors/index.ts';
import { ensureBlob, packSnapshot } from '../layer/index.ts';
import { chainIds, type Descriptor, type Digest, mediaTypes } from '../oci/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { SnapshotInfo, Store } from '../store/index.ts';

/** One layer of a stored image, with its chain ID and the store's facts about it. */
export interface StoredLayer {
  descriptor: Descriptor;
  diffId: Digest;
  chain: Digest;
  snapshot?: SnapshotInfo;
}

/** The layers of a stored image, lowest first, with the store's facts about each. */
export async function storedLayers(store: Store, image: StoredImage): Promise<StoredLayer[]> {
  const diffIds = image.config.rootfs.diff_ids;
  const chains = chainIds(diffIds);
  return Promise.all(
    image.document.layers.map(async (descriptor, i) => {
      const chain = chains[i] as Digest;
      return {
        descriptor,
        diffId: diffIds[i] as Digest,
        chain,
        snapshot: await store.snapshots.byChain(chain),
      };
    }),
  );
}

/**
 * Makes sure that a layer's blob is in content: it is there, or its snapshot is packed, or (only with a client) it is
 * fetched from the layer's origin or from `elsewhere`, an image that has it. Throws `not-found`, `corrupt`, the
 * registry's errors.
 *
 *     for (const layer of await storedLayers(store, image)) await ensureLayer(store, client, layer, { lease });
 */
export async function ensureLayer(
  store: Store,
  client: RegistryClient | undefined,
  layer: StoredLayer,
  ctx: FetchContext,
  elsewhere?: string,
): Promise<void> {
  try {
    await ensureBlob(store, layer.descriptor, layer.chain, ctx);
  } catch (err) {
    const { from = elsewhere, blob } = originOf(layer.snapshot?.labels ?? {});
    const gone = err instanceof DrydockError && (err.code === 'not-found' || err.code === 'corrupt');
    if (!gone || from === undefined || client === undefined) throw err;
    // The blob that a foreign layer was pulled as tells its other URLs.
    const wanted = blob?.digest === layer.descriptor.digest ? blob : layer.descriptor;
    await fetchBlobInto(store, client, from, wanted, ctx);
  }
}

/** Whether a layer is uncompressed in a manifest only because nobody has compressed it yet. */
export async function isPlainLayer(store: Store, { descriptor, snapshot }: StoredLayer): Promise<boolean> {
  const { mediaType, digest } = descriptor;
  if (mediaType !== mediaTypes.ociLayer && mediaType !== mediaTypes.dockerLayer) return false;
  // The layer was published uncompressed, so its digest is known elsewhere.
  if (originOf(snapshot?.labels ?? {}).blob?.digest === digest) return false;
  return !(await isPublished(store, digest));
}

/** Stores a plain layer as a gzip blob in content. */
export async function gzipLayer(store: Store, layer: StoredLayer, ctx: FetchContext): Promise<Descriptor> {
  if (layer.snapshot !== undefined) {
    const { report, signal, lease } = ctx;
    const compression = { type: 'gzip' } as const;
    const made = await packSnapshot(store, layer.snapshot.key, {
      compression,
      store: 'blob',
      lease,
      signal,
      report,
    });
    if (made.diffId === layer.diffId) return like(layer.descriptor, made.descriptor);
  }
  // The tar was made elsewhere (a loaded image) and cannot be made again from files, so its bytes are compressed.
  await ensureBlob(store, layer.descriptor, layer.chain, ctx);
  const { content } = store;
  const writer = await content.writer(`gzip-${layer.descriptor.digest}-${crypto.randomUUID()}`, {
    lease: ctx.lease,
  });
  try {
    const source = await content.read(layer.descriptor.digest);
    const gzip = source.pipe(createGzip({ level: 6, chunkSize: 256 << 10 }));
    source.on('error', (err) => gzip.destroy(err));
    let size = 0;
    try {
      for await (const chunk of gzip as AsyncIterable<Buffer>) {
        throwIfAborted(ctx.signal);
        await writer.write(chunk);
        size += chunk.length;
        ctx.report?.(`compressing ${layer.descriptor.digest}`, { current: size, total: 0 });
      }
    } finally {
      source.destroy();
    }
    const { digest } = await writer.commit();
    ctx.report?.(`compressing ${layer.descriptor.digest}`, { current: size, total: size, done: true });
    return like(layer.descriptor, { mediaType: mediaTypes.ociLayerGzip, digest, size });
  } catch (err) {
    await writer.abort();
    throw ctx.signal?.aborted ? canceled(ctx.signal.reason) : err;
  }
}

/** Gives a layer docker's media type in a docker manifest, the OCI's in an OCI manifest. */
function like(plain: Descriptor, { digest, size }: Descriptor): Descriptor {
  const docker = plain.mediaType === mediaTypes.dockerLayer;
  const { annotations } = plain;
  return {
    mediaType: docker ? mediaTypes.dockerLayerGzip : mediaTypes.ociLayerGzip,
    digest,
    size,
    ...(annotations === undefined ? {} : { annotations }),
  };
}
