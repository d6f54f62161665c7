/** Resolves a reference to one platform's manifest and config, and puts both into content. No layer is fetched. */
import { DrydockError, fail, offline } from '../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  documentExcess,
  familiarName,
  formatPlatform,
  formatReference,
  type ImageConfig,
  isIndexType,
  isManifestType,
  type Manifest,
  maxBytes,
  mediaTypes,
  normalizeName,
  type Platform,
  type PullPolicy,
  parseReference,
  platformMatches,
} from '../oci/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import { gcLabels, type ImageRecord, type Store } from '../store/index.ts';
import {
  type DocumentOrigin,
  parseIndex,
  parseManifest,
  platformList,
  rankPlatforms,
  readConfig,
} from './documents.ts';
import type { FetchContext } from './fetch.ts';
import { isKnownAs, noteOrigin } from './known-names.ts';
import { danglingName, hintElsewhere, isDangling, storedImages } from './stored.ts';

/** One platform's image, with its documents read and checked. */
export interface ImageDocuments {
  /** The descriptor that the name points to: the manifest itself or an index. */
  target: Descriptor;
  manifest: Descriptor;
  config: ImageConfig;
  configDescriptor: Descriptor;
  document: Manifest;
}

/** The place that an image's documents are read from: a registry, a layout folder, or the store alone. */
export interface DocumentSource {
  readonly origin: DocumentOrigin;
  /** Reads a manifest, index or config. The caller checks the bytes. */
  bytes(descriptor: Descriptor): Promise<Buffer>;
}

const maxDepth = 4;

/**
 * Follows `target` down to the manifest of one platform and reads its config; both are put into content under the
 * lease. Throws `not-found` with a list of the available platforms, `corrupt`, `unsupported`.
 *
 *     const source = registryDocuments(store, client, 'docker.io/library/alpine:3', { lease });
 *     const { manifest, config } = await readDocuments(store, source, index, hostPlatform(), lease);
 */
export async function readDocuments(
  store: Store,
  source: DocumentSource,
  target: Descriptor,
  platform: Platform,
  lease: string,
  depth = 0,
): Promise<ImageDocuments> {
  const { origin } = source;
  const bytes = await source.bytes(target);
  if (isIndexType(target.mediaType)) {
    const index = parseIndex(bytes, origin);
    const ranked = depth < maxDepth ? rankPlatforms(index, platform) : [];
    let missing: unknown;
    for (const child of ranked) {
      try {
        const found = await readDocuments(store, source, child, platform, lease, depth + 1);
        const at = index.manifests.indexOf(child);
        await store.content.put(bytes, { lease, labels: { [`${gcLabels.content}.m.${at}`]: child.digest } });
        return { ...found, target };
      } catch (err) {
        // A store may have one platform of several, so the next best one is tried.
        if (!(err instanceof DrydockError) || err.code !== 'not-found') throw err;
        missing ??= err;
      }
    }
    if (missing !== undefined) throw missing;
    throw fail('not-found', origin.hop, `${origin.name}: no image for ${formatPlatform(platform)}`, {
      hint: `There are images for: ${platformList(index)}. Choose one with --platform.`,
    });
  }
  if (!isManifestType(target.mediaType)) {
    throw fail(
      'unsupported',
      origin.hop,
      `${origin.name}: ${JSON.stringify(target.mediaType)} is no image manifest`,
    );
  }
  const document = parseManifest(bytes, origin);
  const configBytes = await source.bytes(document.config);
  const config = await readConfig(configBytes, document, origin);
  const { content } = store;
  await content.put(configBytes, { lease });
  await content.put(bytes, { lease, labels: { [`${gcLabels.content}.config`]: document.config.digest } });
  return { target, manifest: target, config, configDescriptor: document.config, document };
}

/** Reads documents that are in content already. Throws `not-found` (hop `store`). */
export function storeDocuments(store: Store, name: string): DocumentSource {
  const origin: DocumentOrigin = { name, hop: 'store' };
  return { origin, bytes: (descriptor) => store.content.bytes(descriptor.digest) };
}

/**
 * Reads documents of a registry's repository; documents in content are not fetched again. `onFetch` hears of each that
 * is fetched.
 */
export function registryDocuments(
  store: Store,
  client: RegistryClient,
  ref: string,
  ctx: FetchContext,
  onFetch?: () => void,
): DocumentSource {
  const { domain, path } = parseReference(ref);
  const { credentials, signal } = ctx;
  const origin: DocumentOrigin = { name: familiarName(ref), hop: 'registry' };
  return {
    origin,
    async bytes(descriptor) {
      const known = await store.content.bytes(descriptor.digest).catch(() => undefined);
      if (known !== undefined) return known;
      if (ctx.offline) throw offline('registry', `${descriptor.digest} of ${origin.name} is not here`);
      onFetch?.();
      const pinned = formatReference({ domain, path, digest: descriptor.digest });
      if (isIndexType(descriptor.mediaType) || isManifestType(descriptor.mediaType)) {
        return (await client.manifest(pinned, { credentials, signal })).bytes;
      }
      if (descriptor.size > maxBytes) {
        throw fail(
          'exhausted',
          'registry',
          `${origin.name}: its config has ${descriptor.size} bytes, more than ${maxBytes >> 20} MiB`,
        );
      }
      const parts: Buffer[] = [];
      for await (const part of await client.blob(pinned, descriptor, { credentials, signal }))
        parts.push(part);
      return Buffer.concat(parts);
    },
  };
}

/** The image that a reference was resolved to. */
export interface ResolvedDocuments extends ImageDocuments {
  /** The reference with the digest that the name points to; the name itself when only the store knows the image. */
  ref: string;
  /** Whether the image was found in the store, without asking a registry. */
  local: boolean;
}

/**
 * Resolves a reference for a platform. With `pins`, the answer stays the same for a whole build. Throws the
 * registry client's errors, `corrupt`, `unsupported`; `not-found` for an image that is not here and may not be pulled.
 *
 *     const found = await resolveImage(store, client, 'alpine:3', { platform, pull: 'missing', lease });
 */
export async function resolveImage(
  store: Store,
  client: RegistryClient,
  ref: string,
  options: { platform: Platform; pull: PullPolicy; pins?: ImagePins } & FetchContext,
): Promise<ResolvedDocuments> {
  const { pins = askAnew } = options;
  const name = normalizeName(ref);
  if (options.pull !== 'always') {
    const record = await pins.pin(`image here ${name}`, () => recordOf(store, name));
    const found = record && (await resolveLocal(store, name, record.target, options));
    if (found !== undefined) return found;
  }
  if (options.pull === 'never') throw await notHere(store, name, options.platform);
  const asking = pins.pin(`image ${name}`, () => resolveTarget(store, client, name, options));
  const target = await asking.catch(async (err) => {
    // Whatever the registry's trouble is, the image may be in another store on this machine.
    const told = err instanceof DrydockError && err.code !== 'canceled';
    const hint = told ? ((await hintElsewhere(store, name)) ?? (await hintDamaged(store, name))) : undefined;
    if (hint !== undefined) err.hint = hint;
    throw err;
  });
  let fetched = false;
  const source = registryDocuments(store, client, name, options, () => {
    fetched = true;
  });
  const found = await readDocuments(store, source, target, options.platform, options.lease);
  // Nothing refers to them once the build is over, and the next one asks for the same.
  if (fetched) await store.content.linger?.(target.digest);
  await noteOrigin(store, name, [target.digest, found.manifest.digest]);
  return { ...found, ref: pin(name, target.digest), local: false };
}

/** The error for an image that the store does not have, in a build that asks no registry. */
async function notHere(store: Store, name: string, platform: Platform): Promise<DrydockError> {
  const told = `no image ${familiarName(name)} for ${formatPlatform(platform)} is here, and the build pulls none`;
  const hint =
    (await hintElsewhere(store, name)) ??
    (await hintDamaged(store, name)) ??
    `Pull it before: drydock pull ${familiarName(name)}. Or build without --pull=never.`;
  return fail('not-found', 'store', told, { hint });
}

/** Writes a reference as `name:tag@digest`. */
function pin(name: string, digest: Digest): string {
  return formatReference({ ...parseReference(name), digest });
}

/** The images that a build has resolved so far, by key. */
interface ImagePins {
  pin<T>(key: string, find: () => Promise<T>): Promise<T>;
}

const askAnew: ImagePins = { pin: (_, find) => find() };

/** The record of a name. An image without a name has a name of its own making, which no registry's image has. */
function recordOf(store: Store, name: string): Promise<ImageRecord | undefined> {
  return store.images.get(isDangling(name) ? danglingName(parseReference(name).digest as Digest) : name);
}

async function resolveLocal(
  store: Store,
  name: string,
  target: Descriptor,
  { platform, lease }: { platform: Platform; lease: string },
): Promise<ResolvedDocuments | undefined> {
  try {
    const found = await readDocuments(
      store,
      storeDocuments(store, familiarName(name)),
      target,
      platform,
      lease,
    );
    if (!platformMatches(platform, found.config)) return undefined;
    return { ...found, ref: name, local: true };
  } catch (err) {
    // A damaged image is fetched again, like a missing one.
    if (err instanceof DrydockError && (err.code === 'not-found' || err.code === 'corrupt')) return undefined;
    throw err;
  }
}

/** A hint when the store has the name but not the whole image. */
async function hintDamaged(store: Store, name: string): Promise<string | undefined> {
  const record = await store.images.get(name);
  if (record === undefined) return undefined;
  const whole = await storedImages(store, name, record.target);
  if (whole.length > 0) return undefined;
  return `The store has ${familiarName(name)}, but its manifest or config is gone or damaged: pull, load or build it again.`;
}

/**
 * The descriptor that a name points to in its registry. A digest that is known to come from there is not asked for
 * again.
 */
export async function resolveTarget(
  store: Store,
  client: RegistryClient,
  name: string,
  ctx: FetchContext,
): Promise<Descriptor> {
  const { digest } = parseReference(name);
  if (digest !== undefined) {
    const known = (await isKnownAs(store, name, digest)) ? await knownTarget(store, digest) : undefined;
    if (known !== undefined) return known;
    const { descriptor, bytes } = await client.manifest(name, ctx);
    await store.content.put(bytes, { lease: ctx.lease });
    await noteOrigin(store, name, [digest]);
    return descriptor;
  }
  return client.resolve(name, ctx);
}

async function knownTarget(store: Store, digest: Digest): Promise<Descriptor | undefined> {
  let document: { mediaType?: unknown; manifests?: unknown; layers?: unknown };
  let size: number;
  try {
    const bytes = await store.content.bytes(digest);
    if (documentExcess(bytes) !== undefined) return undefined;
    size = bytes.length;
    document = JSON.parse(bytes.toString('utf8')) ?? {};
  } catch {
    return undefined;
  }
  const guess = Array.isArray(document.manifests)
    ? mediaTypes.ociIndex
    : Array.isArray(document.layers)
      ? mediaTypes.ociManifest
      : undefined;
  const mediaType = typeof document.mediaType === 'string' ? document.mediaType : guess;
  if (mediaType === undefined || !(isIndexType(mediaType) || isManifestType(mediaType))) return undefined;
  return { mediaType, digest, size };
}
