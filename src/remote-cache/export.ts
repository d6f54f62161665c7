/** Writes a build's cache for others: into a registry, a folder of the client, or the image's own config. */
import { fail, throwIfAborted, toDrydockError } from '../errors/index.ts';
import { type CacheLayer, cacheLayers, type ExportContext } from '../exporter/index.ts';
import { Limiter } from '../flow/index.ts';
import { type Descriptor, type Digest, digestOf } from '../oci/index.ts';
import type { TracedVertex } from '../solver/index.ts';
import type { Ref } from '../store/index.ts';
import { type ExportWant, placeText } from './attrs.ts';
import { folderManifest } from './client.ts';
import { cacheConfigType, encodeCacheConfig } from './format/config.ts';
import { inlineRecords } from './format/inline.ts';
import { cacheManifest } from './manifest.ts';
import type { BuildMounts } from './mounts/export.ts';
import { placeIn, recordsOf } from './records.ts';
import { openShelf } from './shelf/open.ts';
import { shelfTarget } from './shelf/target.ts';
import {
  type BareTarget,
  type BlobTarget,
  type CacheTarget,
  clientTarget,
  registryTarget,
} from './targets.ts';

/** A tree that was built, with the vertices that it was made of. */
export interface TracedTree {
  ref: Ref;
  trace: readonly TracedVertex[];
}

/** How many layers are sent at one time. */
const atOnce = 4;

/** The name of an export in progress. */
export function exportTitle({ place }: ExportWant): string {
  if (place?.type === 'local') return 'exporting cache to client directory';
  if (place?.type === 'gha') return 'exporting to GitHub Actions Cache';
  if (place?.type !== 'bucket') return 'exporting cache to registry';
  return `exporting cache to ${place.kind === 's3' ? 'Amazon S3' : 'Azure Blob Storage'}`;
}

/**
 * Writes the cache of the given trees. Returns the answer for clients (`cache.manifest`, a descriptor as JSON). Nothing
 * is written when there is no layer to write. Throws `unsupported` when the client takes no folder, and the errors of
 * the registry, the bucket and the session. `mayUse`: whether this machine's own credentials are for a bucket.
 */
export async function exportCache(
  want: ExportWant,
  built: readonly TracedTree[],
  mounts: BuildMounts,
  ctx: ExportContext,
  mayUse: (bucket: string) => boolean,
): Promise<Record<string, string>> {
  const { place } = want;
  const shelf =
    place?.type === 'bucket' || place?.type === 'gha' ? await openShelf(place, mayUse, want.keep) : undefined;
  try {
    return await exportTo(
      want,
      built,
      mounts,
      ctx,
      shelf ? shelfTarget(shelf, ctx) : await targetOf(want, ctx),
    );
  } finally {
    shelf?.close();
  }
}

async function exportTo(
  want: ExportWant,
  built: readonly TracedTree[],
  mounts: BuildMounts,
  ctx: ExportContext,
  target: CacheTarget | BareTarget,
): Promise<Record<string, string>> {
  const { progress } = ctx;
  const status = async <T>(id: string, work: () => Promise<T>): Promise<T> => {
    progress.report(id, { current: 0, total: 0 });
    const result = await work();
    progress.report(id, { current: 0, total: 0, done: true });
    return result;
  };
  for (const name of want.unknown) {
    progress.warn({
      level: 1,
      short: `cache-to: the attribute ${name} is not known and has no effect`,
      detail: [],
    });
  }
  const layers = new Map<Digest, CacheLayer>();
  const config = await status('preparing build cache for export', async () => {
    const layersOf = await layerLister(want, built, ctx);
    return recordsOf(
      built.map(({ trace }) => trace),
      async (ref) => {
        const found = await layersOf(ref);
        for (const layer of found ?? []) layers.set(layer.descriptor.digest, layer);
        return found?.map(({ descriptor }) => descriptor.digest);
      },
    );
  });
  const traces = built.map(({ trace }) => trace);
  const place = want.place === undefined ? '' : placeText(want.place);
  let further: Descriptor[] = [];
  if (want.mounts !== 'none') {
    const { exportMounts } = await import('./mounts/export.ts');
    further = await exportMounts({ choice: want.mounts, target: place }, traces, target, mounts, ctx);
  }
  if (config.layers.length === 0 && further.length === 0) {
    // Nothing that could be taken from it: what the place has stays as it is.
    await status('skipping cache export for empty result', async () => {});
    return {};
  }
  // What no record speaks of is not sent.
  const used = [...new Set(config.layers.map(({ blob }) => blob))].map(
    (blob) => layers.get(blob) as CacheLayer,
  );
  if ('bare' in target) {
    await target.announce([...used.map(({ descriptor }) => descriptor), ...further]);
  }
  const limiter = new Limiter(want.place?.type === 'bucket' ? want.place.atOnce : atOnce);
  await Promise.all(
    used.map((layer) =>
      limiter.run(
        () => status(`writing layer ${layer.descriptor.digest}`, () => target.layer(layer)),
        ctx.signal,
      ),
    ),
  );
  if ('bare' in target) {
    const bytes = encodeCacheConfig(
      config,
      (blob) => {
        const { descriptor, diffId, createdAt } = layers.get(blob) as CacheLayer;
        return { mediaType: descriptor.mediaType, diffId, size: descriptor.size, madeAt: createdAt };
      },
      further[0],
    );
    await status(`writing config ${digestOf(bytes)}`, () => target.bare(bytes));
    await tidied(want, target, ctx);
    return {};
  }
  const configBytes = encodeCacheConfig(config);
  const configBlob: Descriptor = {
    mediaType: cacheConfigType,
    digest: digestOf(configBytes),
    size: configBytes.length,
  };
  await status(`writing config ${configBlob.digest}`, () => target.document(configBlob, configBytes));
  const described = used.map(({ descriptor, diffId, createdAt }) => ({
    descriptor,
    diffId,
    madeAt: createdAt,
  }));
  const { bytes: alone, mediaType } = cacheManifest(configBlob, described, further, want);
  const write = (older: string | undefined) =>
    cacheManifest(configBlob, described, further, want, older).bytes;
  const bytes = (await target.lastDocument?.(write)) ?? alone;
  const manifest: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  const what = want.imageManifest ? 'cache image manifest' : 'cache manifest list';
  await status(`writing ${what} ${manifest.digest}`, () => target.manifest(manifest, bytes));
  await tidied(want, target, ctx);
  const json = JSON.stringify(manifest);
  return {
    'cache.manifest': json,
    // Of several folders, a client must know which has which.
    ...(want.place?.type === 'local' ? { [`${folderManifest}${want.place.folder}`]: json } : {}),
  };
}

/**
 * The records for an image's config: those of its own layers, which have these `diffIds`. Undefined when no step made
 * any of them.
 */
export async function inlineCache(
  { ref, trace }: TracedTree,
  diffIds: readonly Digest[],
): Promise<Buffer | undefined> {
  const whole = (await ref.layers())?.layers ?? [];
  const config = await recordsOf([trace], async (each) => {
    const place = await placeIn(each, whole);
    return place && diffIds.slice(place.start, place.end);
  });
  return inlineRecords(config, diffIds);
}

/** Lists the layers of a tree that go into the cache: those of all trees, or of the trees that a result is made of. */
async function layerLister(
  want: ExportWant,
  built: readonly TracedTree[],
  ctx: ExportContext,
): Promise<(ref: Ref) => Promise<readonly CacheLayer[] | undefined>> {
  const options = { compression: want.compression, force: want.forceCompression, ociTypes: want.ociTypes };
  if (want.mode === 'max') return (ref) => cacheLayers(ref, ctx, options);
  const results = await Promise.all(
    built.map(async ({ ref }) => ({
      layers: await cacheLayers(ref, ctx, options),
      whole: (await ref.layers())?.layers ?? [],
    })),
  );
  return async (ref) => {
    for (const { layers, whole } of results) {
      const place = await placeIn(ref, whole);
      if (place !== undefined) return layers.slice(place.start, place.end);
    }
    return undefined;
  };
}

/** Removes older exports. The new one is there: that they could not be removed is a warning. */
async function tidied({ name }: ExportWant, target: BlobTarget, { progress, signal }: ExportContext) {
  if (target.tidy === undefined) return;
  const id = 'removing older exports';
  progress.report(id, { current: 0, total: 0 });
  try {
    await target.tidy();
  } catch (err) {
    throwIfAborted(signal);
    const { message, hint } = toDrydockError(err, 'cache');
    const short = `cache-to: older exports of ${name} could not be removed: ${message}`;
    progress.warn({ level: 1, short, detail: hint === undefined ? [] : [hint] });
  }
  progress.report(id, { current: 0, total: 0, done: true });
}

async function targetOf({ place, keep }: ExportWant, ctx: ExportContext): Promise<CacheTarget> {
  if (place === undefined) throw fail('internal', 'cache', 'an inline cache has no place of its own');
  if (place.type === 'registry') return registryTarget(place.ref, ctx, keep);
  if (place.type !== 'local')
    throw fail('internal', 'cache', `a cache in ${place.type} has a target of its own`);
  const content = await ctx.session.content?.(`local:${place.folder}`);
  if (content === undefined) {
    throw fail('unsupported', 'session', `the client takes no cache into its folder ${place.folder}`, {
      hint: 'A local cache needs a session that serves it, as docker buildx, buildctl and drydock have.',
    });
  }
  return clientTarget(content, ctx);
}
