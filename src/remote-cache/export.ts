/** Writes a build's cache for others: into a registry, a folder of the client, or the image's own config. */
import { fail } from '../errors/index.ts';
import { type CacheLayer, cacheLayers, type ExportContext } from '../exporter/index.ts';
import { Limiter } from '../flow/index.ts';
import { type Descriptor, type Digest, digestOf } from '../oci/index.ts';
import type { TracedVertex } from '../solver/index.ts';
import type { Ref } from '../store/index.ts';
import type { ExportWant } from './attrs.ts';
import { folderManifest } from './client.ts';
import { cacheConfigType, encodeCacheConfig } from './format/config.ts';
import { inlineRecords } from './format/inline.ts';
import { cacheManifest } from './manifest.ts';
import { placeIn, recordsOf } from './records.ts';
import { type CacheTarget, clientTarget, registryTarget } from './targets.ts';

/** A tree that was built, with the vertices that it was made of. */
export interface TracedTree {
  ref: Ref;
  trace: readonly TracedVertex[];
}

/** How many layers are sent at one time. */
const atOnce = 4;

/** The name of an export in progress. */
export function exportTitle({ place }: ExportWant): string {
  return place?.type === 'local' ? 'exporting cache to client directory' : 'exporting cache to registry';
}

/**
 * Writes the cache of the given trees. Returns the answer for clients (`cache.manifest`, a descriptor as JSON). Nothing
 * is written when there is no layer to write. Throws `unsupported` when the client takes no folder, and the errors of
 * the registry and the session.
 */
export async function exportCache(
  want: ExportWant,
  built: readonly TracedTree[],
  ctx: ExportContext,
): Promise<Record<string, string>> {
  const { progress } = ctx;
  const target = await targetOf(want, ctx);
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
  if (config.layers.length === 0) {
    // Nothing that could be taken from it: what the place has stays as it is.
    await status('skipping cache export for empty result', async () => {});
    return {};
  }
  // What no record speaks of is not sent.
  const used = [...new Set(config.layers.map(({ blob }) => blob))].map(
    (blob) => layers.get(blob) as CacheLayer,
  );
  const limiter = new Limiter(atOnce);
  await Promise.all(
    used.map((layer) =>
      limiter.run(
        () => status(`writing layer ${layer.descriptor.digest}`, () => target.layer(layer)),
        ctx.signal,
      ),
    ),
  );
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
  const { bytes, mediaType } = cacheManifest(configBlob, described, want);
  const manifest: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  const what = want.imageManifest ? 'cache image manifest' : 'cache manifest list';
  await status(`writing ${what} ${manifest.digest}`, () => target.manifest(manifest, bytes));
  const json = JSON.stringify(manifest);
  const { place } = want;
  return {
    'cache.manifest': json,
    // Of several folders, a client must know which has which.
    ...(place?.type === 'local' ? { [`${folderManifest}${place.folder}`]: json } : {}),
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

async function targetOf({ place }: ExportWant, ctx: ExportContext): Promise<CacheTarget> {
  if (place === undefined) throw fail('internal', 'cache', 'an inline cache has no place of its own');
  if (place.type === 'registry') return registryTarget(place.ref, ctx);
  const content = await ctx.session.content?.(`local:${place.folder}`);
  if (content === undefined) {
    throw fail('unsupported', 'session', `the client takes no cache into its folder ${place.folder}`, {
      hint: 'A local cache needs a session that serves it, as docker buildx, buildctl and drydock have.',
    });
  }
  return clientTarget(content, ctx);
}
