/** Makes the layers of a manifest from a solved tree. */
import { fetchBlobInto, isPublished } from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import {
  type Compression,
  compressionOf,
  convertBlob,
  ensureBlob,
  keepsTar,
  type LayerBlob,
  labelChain,
  packedVariants,
  packSnapshot,
  rememberedBlob,
} from '../layer/index.ts';
import { asDistributable, chainIds, type Descriptor, type Digest, maxLayers, typed } from '../oci/index.ts';
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
import type { ExportContext } from './types.ts';

/** The form that the layers of an image are to have. */
export interface LayerOptions {
  compression: Compression;
  /** Brings layers that have another compression (those of a base image) to this one. */
  force: boolean;
  /** Leaves a layer that some registry has as it is there: another blob of the same files would be of no use. */
  asPublished?: boolean;
  blobs: WantedBlobs;
  /** `named`: a layer that has neither a snapshot nor a blob here is left where it is. Otherwise it is fetched. */
  keeps: KeptLayers;
  /** Lowers later times in new layers to this one. */
  epoch?: number;
  ociTypes: boolean;
  /** Leaves layers that may not be distributed as they are; otherwise they become ordinary ones. */
  keepForeign?: boolean;
  /** Leaves a layer that can be fetched from where it is there: who sends the image fetches it if need be. */
  leavesFetchable?: boolean;
  /** False: nothing is to keep the snapshots of the layers. */
  unpacked?: boolean;
}

/** A layer of a manifest. */
export interface ExportLayer {
  descriptor: Descriptor;
  diffId: Digest;
  /** The size of the tar in bytes, or of the blob when the tar's is not known. */
  size: number;
  /** When the layer was made, in ms since the epoch; for layers made here. */
  createdAt?: number;
  /** The name of the step that made it. */
  createdBy?: string;
  /**
   * Whether its blob is in content and under the lease. Otherwise `ExportLayers.bring` is called where the blob is
   * wanted.
   */
  held?: boolean;
  /** Its snapshot, if there is one with the very same files. */
  snapshot?: string;
  /** The reference of an image that has its blob. The blob may not be here. */
  from?: string;
}

interface ExportLayers {
  layers: ExportLayer[];
  /** The snapshot that holds the whole tree, when there is one. */
  top?: string;
  /** With `blobs: 'all'`: sees to it that the blobs of all layers are in content and under the lease. */
  bring(): Promise<void>;
}

/**
 * The layers of a ref. New layers are packed side by side; those of a base image are taken as they are, unless `force`
 * is set.
 */
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
  if (keepsTar(options) && keys.every((key) => key !== undefined)) {
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
        if (options.leavesFetchable === true && (await isFetchable(ctx.store, descriptor, layer))) return;
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
      const snapshot = keepsTar(options) ? keys[i] : undefined;
      return { ...layer, descriptor: typed(descriptor, options.ociTypes), snapshot };
    }),
    top,
    bring,
  };
}

/** The context of refs, for the build that an exporter works for. */
export function contextOf({ session, signal, lease, progress }: ExportContext): RefContext {
  return {
    signal,
    lease,
    credentials: (host) => session.credentials(host),
    mayBeLazy: session.tenant === undefined,
    offline: session.offline,
    report: (id, state) => progress.report(id, state),
  };
}

/** Whether the layers of a tree that are not here can be fetched again from where they are. */
function canStay(lazy: RefLayers | undefined): boolean {
  const stays = ({ blob, diffId, from, snapshot }: RefLayer) =>
    blob === undefined ? snapshot !== undefined : diffId !== undefined && from !== undefined;
  return lazy?.layers.every(stays) === true;
}

/** The layers of a tree. One that does not know them is brought into the store first. */
export async function layersOf(ref: Ref, ctx: ExportContext): Promise<readonly RefLayer[]> {
  return (await ref.layers())?.layers ?? (await layersOnceHere(ref, ctx));
}

/** Brings a tree into the store, and returns its layers. */
async function layersOnceHere(ref: Ref, ctx: ExportContext): Promise<readonly RefLayer[]> {
  const key = await ref.snapshot(contextOf(ctx));
  return (
    (await ref.layers())?.layers ??
    (await ctx.store.snapshots.chain(key)).map((info) => ({ snapshot: info.key, info }))
  );
}

/** A layer for a cache. `bring` sees to it that its blob is in content. */
export interface CacheLayer extends ExportLayer {
  bring(): Promise<void>;
}

/**
 * The layers of a tree (`layersOf`) for a cache. New layers are packed; layers that are elsewhere only are not fetched
 * yet. `made` hears of each layer as soon as it is known, while others are being packed.
 */
export async function cacheLayers(
  found: readonly RefLayer[],
  ctx: ExportContext,
  options: Pick<LayerOptions, 'compression' | 'force' | 'ociTypes'>,
  made?: (layer: CacheLayer, index: number) => void,
): Promise<CacheLayer[]> {
  const known = await withBases(found, ctx, options);
  const exported = known.map((layer) => exportLayer(layer, ctx, { ...options, blobs: 'new', keeps: 'here' }));
  const chainAt = async (i: number) =>
    chainIds((await Promise.all(exported.slice(0, i + 1))).map(({ diffId }) => diffId))[i]!;
  return Promise.all(
    exported.map(async (each, i) => {
      const layer = await each;
      const source = known[i] as RefLayer;
      const result: CacheLayer = {
        ...layer,
        descriptor: typed(layer.descriptor, options.ociTypes),
        from: source.from,
        // The chain is made of the layers below, which may not be packed yet.
        bring: async () => {
          if (layer.held !== true) await bringBlob(layer.descriptor, source, await chainAt(i), ctx);
        },
      };
      made?.(result, i);
      return result;
    }),
  );
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
    const { tarId, ...converted } = await convertBlob(store, blob, options.compression, { lease, signal });
    if (tarId !== diffId) {
      throw fail('corrupt', 'export', `the layer ${blob.digest} holds ${tarId}, not ${diffId}`);
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
  const isPlain = ({ type }: Compression) => type === 'uncompressed';
  const packed = packedVariants(layer.info).filter(({ compression }) => !isPlain(compression));
  // Then it stays as it is, published or not.
  if (isPlain(wanted.compression) && packed.length === 0) return wanted;
  if (diffId !== undefined && (await isPublished(store, diffId))) {
    return { ...wanted, compression: { type: 'uncompressed' } };
  }
  for (const { compression, digest } of packed) {
    if (await isPublished(store, digest)) return { ...wanted, compression };
  }
  return wanted;
}

/** Packs the layer of a snapshot. */
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

/** Whether a layer's blob is neither here nor can be made, and some image has it. */
async function isFetchable(store: Store, { digest }: Descriptor, layer: RefLayer): Promise<boolean> {
  const { from, bring, blob } = layer;
  if (from === undefined || (bring !== undefined && blob?.digest === digest)) return false;
  return !(await isMakeable(store, digest, layer));
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
  } else if (from !== undefined && (await isFetchable(ctx.store, descriptor, layer))) {
    return fetchBlobInto(ctx.store, ctx.registry, from, descriptor, contextOf(ctx));
  }
  await ensureBlob(ctx.store, descriptor, chain, { lease: ctx.lease, signal: ctx.signal });
}

/** The descriptor with the time that the times of its files were lowered to, where the manifest may tell it. */
function dated(descriptor: Descriptor, { epoch, ociTypes }: Partial<LayerOptions>): Descriptor {
  if (epoch === undefined || !ociTypes) return descriptor;
  const annotations = { ...descriptor.annotations, 'buildkit/rewritten-timestamp': String(epoch) };
  return { ...descriptor, annotations };
}

/** The descriptor without the further members that a registry's manifest may have. */
function plain({ mediaType, digest, size, urls, annotations }: Descriptor): Descriptor {
  return {
    mediaType,
    digest,
    size,
    ...(urls === undefined ? {} : { urls }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}
