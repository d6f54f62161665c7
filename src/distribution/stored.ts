/** Reads, names and finds the images in a store. */
import { DrydockError, fail } from '../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  familiarName,
  formatPlatform,
  hostPlatform,
  type ImageConfig,
  type Index,
  isIndexType,
  isManifestType,
  type Manifest,
  normalizeName,
  type Platform,
  parseReference,
  platformMatches,
} from '../oci/index.ts';
import { type ImageRecord, letGo, type Store } from '../store/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';
import {
  type DocumentOrigin,
  isImageEntry,
  parseIndex,
  parseManifest,
  rankPlatforms,
  readConfig,
} from './documents.ts';
import { referenceOf } from './known-names.ts';

/** One platform's image in content. */
export interface StoredImage {
  manifest: Descriptor;
  document: Manifest;
  config: ImageConfig;
  /** The digest of the config, which is the image's ID. */
  id: Digest;
  configBytes: Buffer;
}

/** The name of an image without a name; the exporter and docker use the same form. */
export function danglingName(digest: Digest): string {
  return `moby-dangling@${digest}`;
}

export function isDangling(name: string): boolean {
  return /^(?:docker\.io\/library\/)?moby-dangling@/.test(name);
}

/**
 * All images under a target whose manifest and config are in content. In an index, the best match for `platform` is
 * first.
 *
 *     await storedImages(store, record.name, record.target); // linux/amd64 first on an amd64 host, then linux/arm64
 */
export async function storedImages(
  store: Store,
  name: string,
  target: Descriptor,
  platform: Platform = hostPlatform(),
): Promise<StoredImage[]> {
  const origin: DocumentOrigin = { name: familiarName(name), hop: 'store' };
  const found: StoredImage[] = [];
  await collect(store, origin, target, platform, found, 0);
  return found;
}

/** The image for a platform; without one, any image that is there. Throws `not-found`. */
export async function storedImage(
  store: Store,
  name: string,
  target: Descriptor,
  platform?: Platform,
): Promise<StoredImage> {
  const [image] = await storedImages(store, name, target, platform);
  if (image !== undefined) return image;
  throw fail('not-found', 'store', `the image ${familiarName(name)} is not whole in the store`, {
    hint: `Fetch it again with \`drydock pull ${familiarName(name)}\`.`,
  });
}

/** The image for a platform among several. Throws `not-found` with a list of those that are here. */
export function imageFor(platform: Platform, images: readonly StoredImage[], name: string): StoredImage {
  const image = images.find(({ config }) => platformMatches(platform, config));
  if (image !== undefined) return image;
  throw fail('not-found', 'store', `No such image: ${name} for ${formatPlatform(platform)}`, {
    hint: `Here it is for ${images.map(({ config }) => formatPlatform(config)).join(', ')}.`,
  });
}

async function collect(
  store: Store,
  origin: DocumentOrigin,
  target: Descriptor,
  platform: Platform,
  found: StoredImage[],
  depth: number,
): Promise<void> {
  const bytes = await bytesOf(store, target.digest);
  if (bytes === undefined || depth > 4) return;
  if (isIndexType(target.mediaType)) {
    for (const child of inOrder(parseIndex(bytes, origin), platform)) {
      if (isDue()) await nextTurn();
      await collect(store, origin, child, platform, found, depth + 1);
    }
    return;
  }
  if (!isManifestType(target.mediaType)) return;
  const document = parseManifest(bytes, origin);
  const configBytes = await bytesOf(store, document.config.digest);
  if (configBytes === undefined) return;
  const config = await readConfig(configBytes, document, origin);
  found.push({ manifest: target, document, config, id: document.config.digest, configBytes });
}

function inOrder(index: Index, platform: Platform): Descriptor[] {
  const ranked = new Set(rankPlatforms(index, platform));
  return [...ranked, ...index.manifests.filter((child) => isImageEntry(child) && !ranked.has(child))];
}

async function bytesOf(store: Store, digest: Digest): Promise<Buffer | undefined> {
  try {
    return await store.content.bytes(digest);
  } catch (err) {
    // A damaged image must not hide all others.
    if (err instanceof DrydockError && (err.code === 'not-found' || err.code === 'corrupt')) return undefined;
    throw err;
  }
}

/** An image of the store with its names. */
export interface FoundImage {
  /** All records with names of the image. */
  records: ImageRecord[];
  /** The record that was asked for, or the first. */
  record: ImageRecord;
  by: 'name' | 'id';
  image: StoredImage;
}

/**
 * Finds the image with a name, a digest (`name@sha256:…`), an ID or the beginning of an ID. Throws `not-found` with a
 * hint at the nearest name, `conflict` when the beginning of an ID fits several images.
 */
export async function findImage(store: Store, nameOrId: string): Promise<FoundImage> {
  const named = await byName(store, nameOrId);
  if (named !== undefined) {
    const image = await storedImage(store, named.name, named.target);
    return { record: named, records: await store.images.of(named.target.digest), by: 'name', image };
  }
  const prefix = /^(?:sha256:)?([0-9a-f]{2,64})$/.exec(nameOrId)?.[1];
  const fits = (digest: Digest) => prefix !== undefined && digest.startsWith(`sha256:${prefix}`);
  const found: FoundImage[] = [];
  for (const records of prefix === undefined ? [] : await recordsByTarget(store)) {
    const [record] = records;
    const [image] = await storedImages(store, record.name, record.target);
    if (isDue()) await nextTurn();
    if (image === undefined || !(fits(image.id) || fits(record.target.digest))) continue;
    found.push({ record, records, by: 'id', image });
  }
  const [only] = found;
  if (only !== undefined && found.every(({ image }) => image.id === only.image.id)) {
    return { ...only, records: found.flatMap(({ records }) => records) };
  }
  if (found.length > 1) {
    throw fail('conflict', 'store', `the ID ${nameOrId} is ambiguous: ${found.length} images begin with it`, {
      hint: `Give more of it: ${found.map(({ image }) => image.id.slice(7, 19)).join(', ')}.`,
    });
  }
  throw fail('not-found', 'store', `No such image: ${nameOrId}`, {
    hint: (await hintElsewhere(store, nameOrId)) ?? 'See `drydock images` for what there is.',
  });
}

/**
 * The same for a platform, when one is asked for. Throws as `findImage` does, and `not-found` when the image is not here
 * for the platform.
 */
export async function findImageFor(store: Store, nameOrId: string, platform?: Platform): Promise<FoundImage> {
  const found = await findImage(store, nameOrId);
  if (platform === undefined) return found;
  const images = await storedImages(store, found.record.name, found.record.target, platform);
  return { ...found, image: imageFor(platform, images, nameOrId) };
}

/** Whether a name, a digest, an ID or the beginning of an ID fits an image in the store. */
export async function isHere(store: Store, nameOrId: string): Promise<boolean> {
  try {
    await findImage(store, nameOrId);
    return true;
  } catch (err) {
    if (err instanceof DrydockError && (err.code === 'not-found' || err.code === 'conflict')) {
      return err.code === 'conflict';
    }
    throw err;
  }
}

/** A hint when an image that is missing here is in the store beside this one. */
export async function hintElsewhere(store: Store, name: string): Promise<string | undefined> {
  if (store.elsewhere === undefined) return undefined;
  let normalized: string;
  try {
    normalized = normalizeName(name);
  } catch {
    return undefined; // an ID
  }
  return store.elsewhere(normalized);
}

/** All records grouped by target, so that each target's documents are read once. */
export async function recordsByTarget(store: Store): Promise<[ImageRecord, ...ImageRecord[]][]> {
  const byTarget = new Map<Digest, [ImageRecord, ...ImageRecord[]]>();
  for (const record of await store.images.list()) {
    if (isDue()) await nextTurn();
    const same = byTarget.get(record.target.digest);
    if (same === undefined) byTarget.set(record.target.digest, [record]);
    else same.push(record);
  }
  return [...byTarget.values()];
}

async function byName(store: Store, text: string): Promise<ImageRecord | undefined> {
  let name: string;
  try {
    name = normalizeName(text);
  } catch {
    return undefined;
  }
  const exact = await store.images.get(name);
  if (exact !== undefined) return exact;
  const { domain, path, digest } = parseReference(name);
  if (digest === undefined) return undefined;
  return (await store.images.of(digest)).find((record) => {
    const own = referenceOf(record.name);
    return own?.domain === domain && own.path === path;
  });
}

/** Runs work with a lease: the caller's, or a new one that ends with the work. */
export async function withLease<T>(
  store: Store,
  lease: string | undefined,
  work: (lease: string) => Promise<T>,
): Promise<T> {
  if (lease !== undefined) return work(lease);
  const own = `images-${crypto.randomUUID()}`;
  await store.leases.create(own);
  try {
    return await work(own);
  } finally {
    await letGo(store, own);
  }
}
