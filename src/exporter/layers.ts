/** From a solved tree to the layers of a manifest. */
import { fetchBlobInto, isPublished } from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import {
  type Compression,
  convertBlob,
  ensureBlob,
  type LayerBlob,
  labelChain,
  packedVariants,
  packSnapshot,
  rememberedBlob,
} from '../layer/index.ts';
import { asDistributable, chainIds, type Descriptor, type Digest, maxLayers } from '../oci/index.ts';
import {
  type Ref,
  type RefContext,
  type RefLayer,
  type RefLayers,
  type Store,
  snapshotLabels,
  tooManyLayers,
} from '../store/index.ts';
import { isMakeable, withBases } from './bases.ts';
import { nameByChains } from './chain-names.ts';
import type { KeptLayers, WantedBlobs } from './image-plan.ts';
import { compressionOf, typed } from './media-types.ts';
import type { ExportContext } from './types.ts';

export interface LayerOptions {
  compression: Compression;
  /** Bring layers that have another compression (a base image's) to this one. */
  force: boolean;
  /** A layer that some registry has stays as it is there: another one of the same files would be no use. */
  asPublished?: boolean;
  blobs: WantedBlobs;
  /** `named`: what has neither a snapshot nor a blob here is left where it is; else it is fetched. */
  keeps: KeptLayers;
  /** Clamp times of new layers. */
  epoch?: number;
  ociTypes: boolean;
  /** Leave layers that may not be handed on what they are; else they become ordinary ones. */
  keepForeign?: boolean;
  /** False: nothing is to keep the snapshots of the layers. */
  unpacked?: boolean;
}

export interface ExportLayer {
  descriptor: Descriptor;
  diffId: Digest;
  /** Bytes of the tar; of the blob when that is all that is known. */
  size: number;
  /** ms since the epoch; of layers made here */
  createdAt?: number;
  /** What made it. */
  createdBy?: string;
  /** Its blob is in content, and held; else `ExportLayers.bring` is to be called where it is wanted. */
  held?: boolean;
  /** Its snapshot, if it has one with the very same files. */
  snapshot?: string;
  /** Reference of an image that has its blob, which may not be here. */
  from?: string;
}

interface ExportLayers {
  layers: ExportLayer[];
  /** Snapshot that holds the whole tree, when there is one. */
  top?: string;
  /** With `blobs: 'all'`: sees that the blobs of all layers are in content, and holds them. */
  bring(): Promise<void>;
}

/** The layers of a ref, packed side by side. Layers of a base image are taken as they are, unless `force`. */
export async function exportLayers(
  ref: Ref | undefined,
  ctx: ExportContext,
  options: LayerOptions,
): Promise<ExportLayers> {
  if (ref === undefined) return { layers: [], bring: async () => {} };
  const lazy = await ref.layers();
  const usable = lazy?.where === 'here' || (options.keeps === 'named' && canStay(lazy));
  const found = lazy !== undefined && usable ? lazy.layers : await layersOnceHere(ref, ctx);
  if (found.length > maxLayers) throw tooManyLayers('export');
  const known = await withBases(found, ctx, options);
  const layers = await Promise.all(known.map((layer) => exportLayer(layer, ctx, options)));
  const keys = known.map(({ snapshot, loose }) => (loose ? undefined : snapshot));
  let top = keys.at(-1);
  if (options.epoch === undefined && keys.every((key) => key !== undefined)) {
    const diffIds = layers.map(({ diffId }) => diffId);
    const infos = known.map(({ info }) => info);
    await labelChain(ctx.store, keys, diffIds, infos);
    if (ctx.store.shared && options.blobs === 'all' && options.unpacked !== false) {
      top = (await nameByChains(ctx.store, keys, diffIds, ctx.lease)) ?? top;
    }
  }
  const bring = async () => {
    if (options.blobs !== 'all') return;
    const chains = chainIds(layers.map(({ diffId }) => diffId));
    await Promise.all(
      known.map(async (layer, i) => {
        const { held, descriptor } = layers[i]!;
        if (held === true) return;
        if (held === false) {
          const own = await optionsFor(layer, ctx.store, options);
          return void (await packLayer(layer, ctx, own));
        }
        await bringBlob(descriptor, layer, chains[i]!, ctx);
      }),
    );
  };
  if (options.blobs !== 'all' && options.keeps !== 'named') {
    // The image is to be whole: what has neither a snapshot nor a blob here is fetched.
    await Promise.all(
      known.map(({ snapshot, blob, from }) =>
        snapshot === undefined && blob !== undefined && from !== undefined
          ? fetchBlobInto(ctx.store, ctx.registry, from, blob, contextOf(ctx))
          : undefined,
      ),
    );
  }
  return {
    layers: layers.map((layer, i) => {
      const given = options.keepForeign ? layer.descriptor : asDistributable(layer.descriptor);
      const descriptor = dated(given, known[i]?.blob === undefined ? options : {});
      const snapshot = options.epoch === undefined ? keys[i] : undefined;
      return { ...layer, descriptor: typed(descriptor, options.ociTypes), snapshot };
    }),
    top,
    bring,
  };
}

export function contextOf({ session, signal, lease, progress }: ExportContext): RefContext {
  return {
    signal,
    lease,
    credentials: (host) => session.credentials(host),
    report: (id, state) => progress.report(id, state),
  };
}

/** Whether the layers of a tree that are not here can be had again from where they are. */
function canStay(lazy: RefLayers | undefined): boolean {
  const stays = ({ blob, diffId, from, snapshot }: RefLayer) =>
    blob === undefined ? snapshot !== undefined : diffId !== undefined && from !== undefined;
  return lazy?.layers.every(stays) === true;
}

/** The layers of a tree that first has to come into the store. */
async function layersOnceHere(ref: Ref, ctx: ExportContext): Promise<readonly RefLayer[]> {
  const key = await ref.snapshot(contextOf(ctx));
  return (
    (await ref.layers())?.layers ??
    (await ctx.store.snapshots.chain(key)).map((info) => ({ snapshot: info.key, info }))
  );
}

/** A layer for a cache: `bring` sees that its blob is in content. */
export interface CacheLayer extends ExportLayer {
  bring(): Promise<void>;
}

/** The layers of a ref for a cache: new ones are packed, and of what is only elsewhere nothing is fetched yet. */
export async function cacheLayers(
  ref: Ref,
  ctx: ExportContext,
  options: Pick<LayerOptions, 'compression' | 'force' | 'ociTypes'>,
): Promise<CacheLayer[]> {
  const found = (await ref.layers())?.layers ?? (await layersOnceHere(ref, ctx));
  const known = await withBases(found, ctx, options);
  const layers = await Promise.all(
    known.map((layer) => exportLayer(layer, ctx, { ...options, blobs: 'new', keeps: 'here' })),
  );
  const chains = chainIds(layers.map(({ diffId }) => diffId));
  return layers.map((layer, i) => {
    const source = known[i] as RefLayer;
    return {
      ...layer,
      descriptor: typed(layer.descriptor, options.ociTypes),
      from: source.from,
      bring: () => bringBlob(layer.descriptor, source, chains[i]!, ctx),
    };
  });
}

async function exportLayer(layer: RefLayer, ctx: ExportContext, wanted: LayerOptions): Promise<ExportLayer> {
  const { store, signal, lease } = ctx;
  const options = await optionsFor(layer, store, wanted);
  const { blob, diffId, snapshot, from } = layer;
  const createdBy = layer.madeBy ?? (from === undefined ? undefined : `pulled from ${from}`);
  if (blob !== undefined && diffId !== undefined) {
    if (!options.force || compressionOf(blob) === options.compression.type) {
      return { descriptor: plain(blob), diffId, size: blob.size, createdAt: layer.madeAt, createdBy, from };
    }
    if (layer.bring !== undefined) await layer.bring(contextOf(ctx));
    else if (from !== undefined) await fetchBlobInto(store, ctx.registry, from, blob, contextOf(ctx));
    const converted = await convertBlob(store, blob, options.compression, { lease, signal });
    if (converted.diffId !== diffId) {
      throw fail('corrupt', 'export', `the layer ${blob.digest} holds ${converted.diffId}, not ${diffId}`);
    }
    return { ...converted, createdAt: layer.madeAt, createdBy };
  }
  if (snapshot === undefined) throw fail('internal', 'export', 'a layer has neither a snapshot nor a blob');
  // All may turn out to be here, and kept by an image that is the same.
  const known = options.blobs === 'all' && layer.info ? rememberedBlob(layer.info, options) : undefined;
  const packed = known ?? (await packLayer(layer, ctx, options));
  const info = layer.info ?? (await store.snapshots.stat(snapshot));
  const madeAt = info?.labels[snapshotLabels.madeAt];
  return {
    ...packed,
    createdAt: madeAt === undefined ? info?.createdAt : Number(madeAt),
    createdBy: info?.labels[snapshotLabels.createdBy] ?? layer.madeBy ?? info?.labels[snapshotLabels.madeBy],
    held: options.blobs !== 'none' && known === undefined,
  };
}

async function optionsFor(layer: RefLayer, store: Store, wanted: LayerOptions): Promise<LayerOptions> {
  const { blob, diffId } = layer;
  // One that is a blob is taken as it is.
  if (!wanted.asPublished || (blob !== undefined && !wanted.force)) return wanted;
  if (diffId !== undefined && (await isPublished(store, diffId))) {
    return { ...wanted, compression: { type: 'uncompressed' } };
  }
  for (const { compression, digest } of packedVariants(layer.info)) {
    if (compression.type !== 'uncompressed' && (await isPublished(store, digest))) {
      return { ...wanted, compression };
    }
  }
  return wanted;
}

/** A layer of a snapshot, packed. */
function packLayer(
  { snapshot, info }: RefLayer,
  { store, lease, signal }: ExportContext,
  { blobs, compression, epoch }: LayerOptions,
): Promise<LayerBlob> {
  return packSnapshot(store, snapshot as string, {
    compression,
    epoch,
    store: blobs === 'none' ? 'hash-only' : 'blob',
    lease,
    signal,
    info,
  });
}

/** Makes sure that a layer's bytes are in content. */
async function bringBlob(
  descriptor: Descriptor,
  layer: RefLayer,
  chain: Digest,
  ctx: ExportContext,
): Promise<void> {
  const { from, bring, blob } = layer;
  if (bring !== undefined && blob?.digest === descriptor.digest) {
    if ((await ctx.store.content.info(descriptor.digest)) === undefined) return bring(contextOf(ctx));
  } else if (from !== undefined && !(await isMakeable(ctx.store, descriptor.digest, layer))) {
    return fetchBlobInto(ctx.store, ctx.registry, from, descriptor, contextOf(ctx));
  }
  await ensureBlob(ctx.store, descriptor, chain, { lease: ctx.lease, signal: ctx.signal });
}

/** With the time that its files' times were clamped to, where the manifest may say so. */
function dated(descriptor: Descriptor, { epoch, ociTypes }: Partial<LayerOptions>): Descriptor {
  if (epoch === undefined || !ociTypes) return descriptor;
  const annotations = { ...descriptor.annotations, 'buildkit/rewritten-timestamp': String(epoch) };
  return { ...descriptor, annotations };
}

/** Without what a registry's manifest may have said beside. */
function plain({ mediaType, digest, size, urls, annotations }: Descriptor): Descriptor {
  return {
    mediaType,
    digest,
    size,
    ...(urls === undefined ? {} : { urls }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}
