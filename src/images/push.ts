/** `drydock push`: sends an image of the store to a registry. */
import {
  aboutOf,
  blobsOf,
  type FetchContext,
  findImage,
  imageFor,
  isImageEntry,
  noteOrigin,
  originOf,
  parseIndex,
  parseManifest,
  type StoredImage,
  storedImages,
  withLease,
} from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import { Limiter } from '../flow/index.ts';
import {
  type CredentialSource,
  type Descriptor,
  type Digest,
  familiarName,
  type Index,
  isForeignLayer,
  isIndexType,
  normalizeName,
  type Platform,
  parseReference,
} from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import { contentRefLabels, type Store } from '../store/index.ts';
import { ensureLayer, gzipLayer, isPlainLayer, type StoredLayer, storedLayers } from './blobs.ts';

interface PushOptions {
  lease?: string;
  signal?: AbortSignal;
  /** Reports the bytes of each layer under its digest. A layer that the registry has is complete at once. */
  report?: ReportStatus;
  /** Tells what happened to a layer, before `report` says that it is done. */
  settled?: (layer: PushedLayer) => void;
  credentials?: CredentialSource;
  /** Layer → the reference of an image that has it, for layers that are not in the store. */
  sources?: ReadonlyMap<Digest, string>;
  /** Pushes only this platform of the image, as a separate image. */
  platform?: Platform;
  /** Gets the image's `REPOSITORY@DIGEST` when all of it is in the registry, before the tag is. */
  beforeTag?: (ref: string) => Promise<void>;
}

/** How a registry got a layer: it had it, took it from another of its repositories, or received it. */
type LayerOutcome = 'exists' | 'mounted' | 'pushed';

/** A layer that the registry has after the push. */
export interface PushedLayer {
  digest: Digest;
  outcome: LayerOutcome;
  /** The repository that a mounted layer was taken from: `library/busybox`. */
  from?: string;
}

interface Pushed {
  /** The reference that was pushed to. */
  ref: string;
  /** The descriptor that the tag now points to. */
  target: Descriptor;
  layers: { digest: Digest; outcome: LayerOutcome }[];
  /** The image; of several platforms, the host's. */
  image: StoredImage;
}

interface Push extends FetchContext {
  store: Store;
  client: RegistryClient;
  target: string;
  limiter: Limiter;
  layers: Map<Digest, Promise<LayerOutcome>>;
  settled: PushOptions['settled'];
  sources: PushOptions['sources'];
  beforeTag: PushOptions['beforeTag'];
}

/**
 * Pushes the image with the name or ID `name` to `target` (default: the name itself). Layers without a blob are packed
 * and compressed with gzip; the image's names then point to the pushed manifest, so the digest is the same on both
 * sides. Blobs that the registry has, or can mount from the repository that they came from, are not sent. An index is
 * pushed whole if all of it is in the store and no platform is asked for; otherwise only the one image is. Throws
 * `not-found`, the registry's errors, `canceled`.
 *
 *     await pushImage(store, client, 'app:1', 'registry.example.com/team/app:1', { credentials });
 */
export async function pushImage(
  store: Store,
  client: RegistryClient,
  name: string,
  target: string = name,
  options: PushOptions = {},
): Promise<Pushed> {
  const ref = normalizeName(target);
  if (parseReference(ref).tag === undefined) {
    throw fail(
      'invalid',
      'client',
      `cannot push to ${familiarName(ref)}: a digest is what comes of a push; give a tag`,
    );
  }
  return withLease(store, options.lease, async (lease) => {
    const found = await findImage(store, name);
    const { signal, report, credentials, settled, sources, beforeTag } = options;
    const layers: Push['layers'] = new Map();
    const push: Push = {
      store,
      client,
      target: ref,
      lease,
      signal,
      report,
      credentials,
      limiter: new Limiter(store.work.uploads),
      layers,
      settled,
      sources,
      beforeTag,
    };
    const images = await storedImages(store, found.record.name, found.record.target);
    const before = found.record.target;
    let pushed: Descriptor;
    if (options.platform !== undefined) {
      pushed = await pushOne(push, imageFor(options.platform, images, name), true);
    } else if (isIndexType(before.mediaType)) {
      const index = parseIndex(await store.content.bytes(before.digest), { name, hop: 'store' });
      const byDigest = new Map(images.map((image) => [image.manifest.digest, image]));
      const whole = index.manifests.every((child) => !isImageEntry(child) || byDigest.has(child.digest));
      pushed = whole
        ? await pushIndex(push, index, before, byDigest)
        : await pushOne(push, found.image, true);
    } else pushed = await pushOne(push, found.image, true);
    if (pushed.digest !== before.digest && isIndexType(before.mediaType) === isIndexType(pushed.mediaType)) {
      for (const record of found.records) await store.images.put(record.name, pushed, record.labels);
    }
    // From now on callers are told this digest, and a build that makes the image again makes it with this digest.
    await noteOrigin(store, ref, [pushed.digest, ...layers.keys()]);
    const outcomes = [...layers].map(async ([digest, outcome]) => ({ digest, outcome: await outcome }));
    return { ref, target: pushed, layers: await Promise.all(outcomes), image: found.image };
  });
}

async function pushIndex(
  push: Push,
  index: Index,
  before: Descriptor,
  images: ReadonlyMap<Digest, StoredImage>,
): Promise<Descriptor> {
  const manifests: Descriptor[] = [];
  for (const child of index.manifests) {
    const image = images.get(child.digest);
    if (image === undefined) {
      // An image's attestation is sent unchanged when it is here, and otherwise left out of the index.
      if (await pushAttestation(push, child)) manifests.push(child);
      continue;
    }
    // What is stated of an image is about its very bytes.
    const isStated = index.manifests.some((other) => aboutOf(other) === child.digest);
    const { mediaType, digest, size } = await pushOne(push, image, false, isStated);
    manifests.push({ ...child, mediaType, digest, size });
  }
  const same =
    manifests.length === index.manifests.length &&
    manifests.every((m, i) => m.digest === index.manifests[i]?.digest);
  const { store, lease } = push;
  const bytes = same
    ? await store.content.bytes(before.digest)
    : Buffer.from(JSON.stringify({ ...index, manifests }, undefined, 2));
  const digest = await store.content.put(bytes, { lease, labels: contentRefLabels(manifests) });
  const descriptor: Descriptor = { mediaType: before.mediaType, digest, size: bytes.length };
  await pushTop(push, descriptor, bytes);
  return descriptor;
}

/** Puts the manifest or index of the whole image under the tag, when what must come before it is done. */
async function pushTop(push: Push, descriptor: Descriptor, bytes: Buffer): Promise<void> {
  const { client, target, beforeTag } = push;
  if (beforeTag !== undefined) {
    const pinned = byDigest(target, descriptor.digest);
    await client.pushManifest(pinned, descriptor, bytes, push);
    await beforeTag(pinned);
  }
  await client.pushManifest(target, descriptor, bytes, push);
}

async function pushAttestation(push: Push, child: Descriptor): Promise<boolean> {
  const { store, client } = push;
  if ((await store.content.info(child.digest)) === undefined) return false;
  const bytes = await store.content.bytes(child.digest);
  const document = parseManifest(bytes, { name: push.target, hop: 'store' });
  for (const blob of blobsOf(document)) {
    if ((await store.content.info(blob.digest)) === undefined) return false;
    await client.pushBlob(push.target, blob, () => store.content.read(blob.digest), push);
  }
  await client.pushManifest(byDigest(push.target, child.digest), child, bytes, push);
  return true;
}

/**
 * Pushes one platform's image: its blobs, then its manifest, under the tag or, for a part of an index, its digest.
 * `asItIs`: layers that are not compressed stay so.
 */
async function pushOne(
  push: Push,
  image: StoredImage,
  isTagged: boolean,
  asItIs = false,
): Promise<Descriptor> {
  const { store, client, lease } = push;
  const layers = await storedLayers(store, image);
  const stop = new AbortController();
  const signal = push.signal === undefined ? stop.signal : AbortSignal.any([push.signal, stop.signal]);
  const ctx: Push = { ...push, signal };
  const work = [
    pushConfig(ctx, image.document.config),
    ...layers.map(async (layer) => {
      const blob =
        !asItIs && (await isPlainLayer(store, layer))
          ? await push.limiter.run(() => gzipLayer(store, layer, ctx), signal)
          : layer.descriptor;
      if (!isForeignLayer(blob)) await pushLayer(ctx, layer, blob);
      return blob;
    }),
  ];
  let blobs: Descriptor[];
  try {
    blobs = await Promise.all(work);
  } catch (err) {
    stop.abort(err);
    await Promise.allSettled(work);
    throw err;
  }
  const [config, ...made] = blobs as [Descriptor, ...Descriptor[]];
  const same = made.every((blob, i) => blob.digest === image.document.layers[i]?.digest);
  const bytes = same
    ? await store.content.bytes(image.manifest.digest)
    : Buffer.from(JSON.stringify({ ...image.document, layers: made }, undefined, 2));
  const labels = same ? {} : contentRefLabels([config, ...made]);
  const digest = await store.content.put(bytes, { lease, labels });
  const { mediaType } = image.manifest;
  const descriptor: Descriptor = { mediaType, digest, size: bytes.length };
  if (isTagged) await pushTop(push, descriptor, bytes);
  else await client.pushManifest(byDigest(push.target, digest), descriptor, bytes, push);
  return descriptor;
}

async function pushLayer(push: Push, layer: StoredLayer, blob: Descriptor): Promise<void> {
  let outcome = push.layers.get(blob.digest);
  if (outcome === undefined) {
    const { store, client, sources } = push;
    const source = sources?.get(blob.digest);
    const from = originOf(layer.snapshot?.labels ?? {}).from ?? source;
    // Only blobs that the registry asks for are made or fetched.
    const ensure = async () => {
      if (blob !== layer.descriptor) return;
      await ensureLayer(store, client, layer, push, source);
    };
    outcome = push.limiter.run(() => send(push, blob, ensure, from), push.signal);
    push.layers.set(blob.digest, outcome);
  }
  await outcome;
}

/** Pushes the config, without progress: users watch layers only. */
async function pushConfig(push: Push, config: Descriptor): Promise<Descriptor> {
  const { store, client, target, credentials, signal } = push;
  const open = async () => store.content.read(config.digest);
  await push.limiter.run(() => client.pushBlob(target, config, open, { credentials, signal }), signal);
  return config;
}

async function send(
  push: Push,
  blob: Descriptor,
  ensure: () => Promise<void>,
  mountFrom?: string,
): Promise<LayerOutcome> {
  const { store, client, target, credentials, signal } = push;
  const total = blob.size;
  push.report?.(blob.digest, { current: 0, total });
  const open = async () => {
    await ensure();
    return store.content.read(blob.digest);
  };
  const onProgress = (current: number) => push.report?.(blob.digest, { current, total });
  const outcome = await client.pushBlob(target, blob, open, { credentials, signal, mountFrom, onProgress });
  const from = outcome === 'mounted' && mountFrom !== undefined ? parseReference(mountFrom).path : undefined;
  push.settled?.({ digest: blob.digest, outcome, ...(from !== undefined && { from }) });
  push.report?.(blob.digest, { current: total, total, done: true });
  return outcome;
}

function byDigest(target: string, digest: Digest): string {
  const { domain, path } = parseReference(target);
  return `${domain}/${path}@${digest}`;
}
