/** Writes a build's cache for others: into a registry, a folder of the client, or the image's own config. */
import { fail, throwIfAborted, toDrydockError } from '../errors/index.ts';
import { type CacheLayer, cacheLayers, type ExportContext, layersOf } from '../exporter/index.ts';
import { orAbort } from '../flow/index.ts';
import { chunkAnnotations, type Descriptor, type Digest, digestOf } from '../oci/index.ts';
import type { TracedVertex } from '../solver/index.ts';
import type { Ref, RefLayer } from '../store/index.ts';
import { type ExportWant, placeText } from './attrs.ts';
import { folderManifest } from './client-folders.ts';
import { cacheConfigType, encodeCacheConfig } from './format/config.ts';
import { inlineRecords } from './format/inline.ts';
import { cacheManifest } from './manifest.ts';
import type { BuildMounts } from './mounts/export.ts';
import { placeIn, recordsOf } from './records.ts';
import { Sending } from './sending.ts';
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
 * `written` is called when this cache is written: it resolves with whether the build's others are, too. Otherwise older
 * exports stay, as the client may have no use for a build that has failed.
 */
export async function exportCache(
  want: ExportWant,
  built: readonly TracedTree[],
  mounts: BuildMounts,
  ctx: ExportContext,
  mayUse: (bucket: string) => boolean,
  written: () => Promise<boolean>,
): Promise<Record<string, string>> {
  const { place } = want;
  const stop = new AbortController();
  const stoppable = { ...ctx, signal: AbortSignal.any([ctx.signal, stop.signal]) };
  const shelf =
    place?.type === 'bucket' || place?.type === 'gha' ? await openShelf(place, mayUse, want.keep) : undefined;
  try {
    const target = shelf ? shelfTarget(shelf, stoppable) : await targetOf(want, stoppable);
    const sending = new Sending(place?.type === 'bucket' ? place.atOnce : atOnce, stop, (layer) =>
      stated(ctx, `writing layer ${layer.descriptor.digest}`, () => target.layer(layer)),
    );
    return await sending.during(async () => {
      const answer = await exportTo(want, built, mounts, stoppable, target, sending);
      const areAll = written();
      if (answer === undefined) return {};
      if (target.tidy !== undefined && (await orAbort(areAll, ctx.signal))) await tidied(want, target, ctx);
      return answer;
    });
  } finally {
    shelf?.close();
  }
}

/** Does the work with its name in the progress. */
async function stated<T>({ progress }: ExportContext, id: string, work: () => Promise<T>): Promise<T> {
  progress.report(id, { current: 0, total: 0 });
  const result = await work();
  progress.report(id, { current: 0, total: 0, done: true });
  return result;
}

/** Writes the cache to the target. Undefined when there is nothing to write. */
async function exportTo(
  want: ExportWant,
  built: readonly TracedTree[],
  mounts: BuildMounts,
  ctx: ExportContext,
  target: CacheTarget | BareTarget,
  sending: Sending,
): Promise<Record<string, string> | undefined> {
  const { progress } = ctx;
  const status = <T>(id: string, work: () => Promise<T>) => stated(ctx, id, work);
  for (const name of want.unknown) {
    progress.warn({
      level: 1,
      short: `cache-to: the attribute ${name} is not known and has no effect`,
      detail: [],
    });
  }
  const layers = new Map<Digest, CacheLayer>();
  const traces = built.map(({ trace }) => trace);
  const config = await status('preparing build cache for export', async () => {
    const send = target.announce === undefined ? (layer: CacheLayer) => void sending.layer(layer) : () => {};
    const layersOf = await layerLister(want, built, ctx, send);
    return recordsOf(traces, async (ref) => {
      const found = await layersOf(ref);
      for (const layer of found ?? []) layers.set(layer.descriptor.digest, layer);
      return found?.map(({ descriptor }) => descriptor.digest);
    });
  });
  let further: Descriptor[] = [];
  if (want.mounts !== 'none') {
    const { exportMounts } = await import('./mounts/export.ts');
    const { place } = want;
    const isPassing = place?.type === 'local' && place.archive !== undefined;
    const wanted = { choice: want.mounts, target: place === undefined ? '' : placeText(place), isPassing };
    further = await exportMounts(wanted, traces, target, mounts, ctx);
  }
  if (config.layers.length === 0 && further.length === 0) {
    // Nothing that could be taken from it: what the place has stays as it is.
    await status('skipping cache export for empty result', async () => {});
    return undefined;
  }
  // What no record speaks of is not sent.
  const used = [...new Set(config.layers.map(({ blob }) => blob))].map(
    (blob) => layers.get(blob) as CacheLayer,
  );
  const named = [...used.map(({ descriptor }) => descriptor), ...further];
  await target.announce?.(named);
  await Promise.all(used.map((layer) => sending.layer(layer)));
  if ('bare' in target) {
    const bytes = encodeCacheConfig(
      config,
      (blob) => {
        const { descriptor, diffId, createdAt } = layers.get(blob) as CacheLayer;
        const { mediaType, size } = descriptor;
        return { mediaType, diffId, size, madeAt: createdAt, chunked: chunkAnnotations(descriptor) };
      },
      further[0],
    );
    await status(`writing config ${digestOf(bytes)}`, () => target.bare(bytes, named));
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
  const write = (annotations: Record<string, string>) =>
    cacheManifest(configBlob, described, further, want, annotations).bytes;
  const bytes = (await target.lastDocument?.(write)) ?? alone;
  const manifest: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  const what = want.imageManifest ? 'cache image manifest' : 'cache manifest list';
  await status(`writing ${what} ${manifest.digest}`, () => target.manifest(manifest, bytes));
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
  // Of a squashed image the topmost layer is no step's: it is the result as a whole, on the base's layers.
  const same = diffIds.length === whole.length ? whole.length : diffIds.length - 1;
  const config = await recordsOf([trace], async (each) => {
    const place = await placeIn(each, whole);
    if (place === undefined) return undefined;
    const { start, end } = place;
    if (end <= same) return diffIds.slice(start, end);
    return start === 0 && end === whole.length ? diffIds : undefined;
  });
  return inlineRecords(config, diffIds);
}

/**
 * Lists the layers of a tree that go into the cache: those of all trees, or of the trees that a result is made of.
 * `send` is given each layer that some record will speak of, when it is packed.
 */
async function layerLister(
  want: ExportWant,
  built: readonly TracedTree[],
  ctx: ExportContext,
  send: (layer: CacheLayer) => void,
): Promise<(ref: Ref) => Promise<readonly CacheLayer[] | undefined>> {
  const options = { compression: want.compression, force: want.forceCompression, ociTypes: want.ociTypes };
  const traces = built.map(({ trace }) => trace);
  // Which layers have records does not depend on their bytes: before any is packed, names of them stand for them.
  const namesOf = async (name: (ref: Ref) => Promise<readonly string[] | undefined>) => {
    const asDigests = async (ref: Ref) => (await name(ref))?.map((each) => digestOf(each));
    return new Set((await recordsOf(traces, asDigests)).layers.map(({ blob }) => blob));
  };
  if (want.mode === 'max') {
    const recorded = await namesOf(async ({ id }) => [id]);
    return async (ref) => {
      // A tree that has to be brought first has another id then.
      const made = recorded.has(digestOf(ref.id)) ? send : undefined;
      return cacheLayers(await layersOf(ref, ctx), ctx, options, made);
    };
  }
  const wholes = await Promise.all(built.map(({ ref }) => layersOf(ref, ctx)));
  const recorded = await namesOf((ref) =>
    inWholes(ref, wholes, (at, { start, end }) =>
      Array.from({ length: end - start }, (_, i) => `${at} ${start + i}`),
    ),
  );
  const results = await Promise.all(
    wholes.map((whole, at) =>
      cacheLayers(whole, ctx, options, (layer, i) => {
        if (recorded.has(digestOf(`${at} ${i}`))) send(layer);
      }),
    ),
  );
  return (ref) => inWholes(ref, wholes, (at, { start, end }) => results[at]?.slice(start, end));
}

/** Gives the part of a result that a tree is: by the result's place in the list, and the part's range. */
async function inWholes<T>(
  ref: Ref,
  wholes: readonly (readonly RefLayer[])[],
  part: (at: number, range: { start: number; end: number }) => T,
): Promise<T | undefined> {
  for (const [at, whole] of wholes.entries()) {
    const range = await placeIn(ref, whole);
    if (range !== undefined) return part(at, range);
  }
  return undefined;
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
  return clientTarget(content, place, ctx, keep);
}
