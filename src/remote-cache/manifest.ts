/**
 * The document that ties a cache's config and layers together: an index of them, or an image manifest whose config is
 * the cache's. Pure, but for the blobs that `readCache` gets. https://github.com/moby/buildkit#export-cache
 */

import { layersOf, parseIndex, parseManifest, readConfig } from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import {
  chunkAnnotations,
  type Descriptor,
  type Digest,
  type Index,
  isDigest,
  isIndexType,
  isManifestType,
  type Manifest,
  mediaTypes,
} from '../oci/index.ts';
import type { ExportWant } from './attrs.ts';
import { cacheConfigType, maxCacheConfig } from './format/config.ts';
import type { KeyGraph } from './format/key-graph.ts';
import { cacheMountsType, type MountRecord, parseMounts } from './format/mounts.ts';
import { readCacheConfig } from './read-config.ts';

/** Docker's label for the digest of the tar in a compressed layer. */
const uncompressed = 'containerd.io/uncompressed';
const createdAt = 'buildkit/createdat';
/** An annotation that BuildKit reads and does not write. */
const description = 'buildkit/description';
const inlineField = 'moby.buildkit.cache.v0';
/** The most images of one index that are looked into. */
const maxImages = 64;

export interface CacheLayerBlob {
  descriptor: Descriptor;
  diffId: Digest;
  /** When the layer was made, in ms since the epoch, if that is known. An image of it tells this in its history. */
  madeAt?: number;
  /** The name of the step that made the layer, if it is known. */
  madeBy?: string;
}

/** Records, and the layers that they name. */
export interface CacheContents {
  graph: KeyGraph;
  /** The layers by number; undefined for one that cannot be unpacked. */
  layers: readonly (CacheLayerBlob | undefined)[];
  mounts?: readonly MountRecord[];
}

/**
 * The last document of a cache. `further`: blobs that the config does not name, to be kept with the others.
 */
export function cacheManifest(
  config: Descriptor,
  layers: readonly CacheLayerBlob[],
  further: readonly Descriptor[],
  { imageManifest, ociTypes }: Pick<ExportWant, 'imageManifest' | 'ociTypes'>,
  annotations: Record<string, string> = {},
): { bytes: Buffer; mediaType: string } {
  const known = new Set(layers.map(({ descriptor: { digest } }) => digest));
  const others = further.filter(({ digest }) => !known.has(digest) && known.add(digest));
  const named = layers.map(({ descriptor, diffId, madeAt }) => ({
    ...descriptor,
    annotations: {
      ...descriptor.annotations,
      ...(madeAt === undefined ? {} : { [createdAt]: new Date(madeAt).toISOString() }),
      [uncompressed]: diffId,
    },
  }));
  const described = [...named, ...others];
  const annotated = Object.keys(annotations).length === 0 ? {} : { annotations };
  const document: Manifest | Index = imageManifest
    ? { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: described, ...annotated }
    : {
        schemaVersion: 2,
        mediaType: ociTypes ? mediaTypes.ociIndex : mediaTypes.dockerIndex,
        manifests: [...described, config],
        ...annotated,
      };
  return { bytes: Buffer.from(JSON.stringify(document)), mediaType: document.mediaType as string };
}

/**
 * The caches in a manifest or index: its own, or those inside the images that it names. `read` gives small blobs,
 * checked. Empty for images without a cache. Throws `corrupt` and `exhausted` (hop `cache`), and the errors of reading.
 */
export async function readCache(
  target: Descriptor,
  bytes: Buffer,
  read: (descriptor: Descriptor) => Promise<Buffer>,
): Promise<CacheContents[]> {
  const origin = { name: 'the cache manifest', hop: 'cache' } as const;
  if (isIndexType(target.mediaType)) {
    const { manifests } = parseIndex(bytes, origin);
    const config = manifests.find(({ mediaType }) => mediaType === cacheConfigType);
    if (config !== undefined) {
      return [
        await contentsOf(
          await readSmall(config, read),
          manifests.filter((each) => each !== config),
          read,
        ),
      ];
    }
    const images = manifests.filter(({ mediaType }) => isManifestType(mediaType)).slice(0, maxImages);
    const found = await Promise.all(images.map(async (image) => readCache(image, await read(image), read)));
    return found.flat();
  }
  const manifest = parseManifest(bytes, origin);
  const config = await readSmall(manifest.config, read);
  if (manifest.config.mediaType === cacheConfigType) return [await contentsOf(config, manifest.layers, read)];
  if (
    manifest.config.mediaType !== mediaTypes.ociConfig &&
    manifest.config.mediaType !== mediaTypes.dockerConfig
  )
    return [];
  const image = await readConfig(config, manifest, origin);
  const inline = image[inlineField];
  if (typeof inline !== 'string') return [];
  const made = (image.history ?? []).filter((entry) => entry.empty_layer !== true);
  const layers = layersOf(manifest, image).map((layer, i) => ({
    ...layer,
    ...timeOf(made[i]?.created),
    ...makerOf(made[i]?.created_by),
  }));
  const { graph } = await readCacheConfig(Buffer.from(inline, 'base64'), layers.length);
  return [{ graph, layers }];
}

async function readSmall(
  descriptor: Descriptor,
  read: (descriptor: Descriptor) => Promise<Buffer>,
): Promise<Buffer> {
  if (descriptor.size > maxCacheConfig) {
    throw fail('exhausted', 'cache', `its config has ${descriptor.size} bytes, more than ${maxCacheConfig}`);
  }
  return read(descriptor);
}

async function contentsOf(
  config: Buffer,
  blobs: readonly Descriptor[],
  read: (descriptor: Descriptor) => Promise<Buffer>,
): Promise<CacheContents> {
  const { graph, layers } = await readCacheConfig(config);
  const mounts = blobs.find(({ mediaType }) => mediaType === cacheMountsType);
  const byDigest = new Map(blobs.map((blob) => [blob.digest, blob]));
  return {
    graph,
    layers: layers.map(({ blob }) => {
      const found = byDigest.get(blob);
      return found && layerOf(found);
    }),
    ...(mounts === undefined ? {} : { mounts: parseMounts(await readSmall(mounts, read)) }),
  };
}

/** The cache of a config that has no manifest: its layers say of themselves what they are. Throws `corrupt`. */
export async function readBareConfig(
  config: Buffer,
  read: (descriptor: Descriptor) => Promise<Buffer>,
): Promise<CacheContents> {
  const { graph, layers, mounts } = await readCacheConfig(config);
  const document = mounts && { ...mounts, mediaType: cacheMountsType };
  return {
    ...(document === undefined ? {} : { mounts: parseMounts(await readSmall(document, read)) }),
    graph,
    layers: layers.map(({ blob, about }) => {
      if (about === undefined) return undefined;
      const { mediaType, size, diffId, madeAt, chunked } = about;
      return {
        descriptor: { mediaType, digest: blob, size, ...(chunked && { annotations: chunked }) },
        diffId,
        ...(madeAt === undefined ? {} : { madeAt }),
      };
    }),
  };
}

function layerOf({ mediaType, digest, size, annotations }: Descriptor): CacheLayerBlob | undefined {
  const plain = mediaType === mediaTypes.ociLayer || mediaType === mediaTypes.dockerLayer;
  const diffId = annotations?.[uncompressed] ?? (plain ? digest : undefined);
  if (diffId === undefined || !isDigest(diffId)) return undefined;
  const chunked = chunkAnnotations({ annotations });
  return {
    descriptor: { mediaType, digest, size, ...(chunked && { annotations: chunked }) },
    diffId,
    ...timeOf(annotations?.[createdAt]),
    ...makerOf(annotations?.[description]),
  };
}

function timeOf(text: unknown): { madeAt?: number } {
  const madeAt = typeof text === 'string' ? Date.parse(text) : Number.NaN;
  return Number.isNaN(madeAt) ? {} : { madeAt };
}

function makerOf(text: unknown): { madeBy?: string } {
  return typeof text === 'string' && text !== '' ? { madeBy: text } : {};
}
