/**
 * Reads and checks manifests, indexes and configs, which come from strangers. Documents that are too large for any
 * image throw `exhausted`.
 */
import { type ErrorCode, fail, type Hop } from '../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  documentExcess,
  formatPlatform,
  type ImageConfig,
  type Index,
  isDigest,
  isIndexType,
  jsonExcess,
  type Manifest,
  maxLayers,
  type Platform,
  platformScore,
} from '../oci/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';

type Json = Record<string, unknown>;

/** The source of a document, for error messages: its name and the hop on which it came. */
export interface DocumentOrigin {
  name: string;
  hop: Hop;
}

/** The largest number of images in an index. */
const maxManifests = 10_000;

function parse(bytes: Uint8Array, what: string, from: DocumentOrigin): Json {
  const excess = from.hop === 'store' ? excessInStore(bytes) : documentExcess(bytes);
  if (excess !== undefined) throw bad(from, `its ${what} has ${excess}`, 'exhausted');
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    if (isObject(value)) return value;
  } catch {
    // The error is thrown below.
  }
  throw bad(from, `its ${what} is not a JSON object`);
}

/**
 * The limits for documents in the store. Documents that others put into a containerd must be readable so that they can
 * be removed; ours were checked when they came.
 */
function excessInStore(bytes: Uint8Array): string | undefined {
  const excess = jsonExcess(Buffer.from(bytes).toString('latin1'), { depth: 64, values: 2_000_000 });
  return excess && 'more than any image needs';
}

function bad(from: DocumentOrigin, why: string, code: ErrorCode = 'corrupt') {
  return fail(code, from.hop, `${from.name}: ${why}`);
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function descriptor(value: unknown, what: string, from: DocumentOrigin): Descriptor {
  if (!isObject(value)) throw bad(from, `its ${what} is missing`);
  const { mediaType, digest, size } = value;
  if (typeof digest !== 'string' || !isDigest(digest))
    throw bad(from, `its ${what} has no valid sha256 digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw bad(from, `its ${what} has no valid size`);
  if (typeof mediaType !== 'string') throw bad(from, `its ${what} has no media type`);
  const { urls } = value;
  if (urls !== undefined && !(Array.isArray(urls) && urls.every((url) => typeof url === 'string'))) {
    throw bad(from, `its ${what} has urls that are no list of texts`);
  }
  return value as unknown as Descriptor;
}

/** Parses an image manifest. Throws `corrupt` when it is not sound, `unsupported` for docker schema 1. */
export function parseManifest(bytes: Uint8Array, from: DocumentOrigin): Manifest {
  const value = parse(bytes, 'manifest', from);
  if (value.schemaVersion === 1) throw bad(from, "docker's schema 1 format is not supported", 'unsupported');
  descriptor(value.config, 'config', from);
  if (!Array.isArray(value.layers)) throw bad(from, 'its manifest has no layers');
  if (value.layers.length > maxLayers) throw bad(from, `it has more than ${maxLayers} layers`);
  for (const [i, layer] of value.layers.entries()) descriptor(layer, `layer ${i}`, from);
  return value as unknown as Manifest;
}

/** Parses an image index (or docker manifest list). Throws `corrupt`. */
export function parseIndex(bytes: Uint8Array, from: DocumentOrigin): Index {
  const value = parse(bytes, 'index', from);
  if (!Array.isArray(value.manifests)) throw bad(from, 'its index has no manifests');
  if (value.manifests.length > maxManifests)
    throw bad(from, `its index lists more than ${maxManifests} images`);
  value.manifests.forEach((child, i) => {
    const { platform } = descriptor(child, `manifest ${i}`, from);
    if (platform !== undefined && !isObject(platform))
      throw bad(from, `its manifest ${i} has no valid platform`);
    if (
      platform !== undefined &&
      (typeof platform.os !== 'string' || typeof platform.architecture !== 'string')
    ) {
      delete (child as Descriptor).platform;
    }
  });
  return value as unknown as Index;
}

/**
 * Parses an image config that must fit its manifest, in a turn of its own. Throws `corrupt`, and `unsupported` when it
 * is no container image's.
 */
export async function readConfig(
  bytes: Uint8Array,
  manifest: Manifest,
  from: DocumentOrigin,
): Promise<ImageConfig> {
  if (isDue()) await nextTurn();
  const config = parseConfig(bytes, manifest, from);
  if (isDue()) await nextTurn();
  return config;
}

function parseConfig(bytes: Uint8Array, manifest: Manifest, from: DocumentOrigin): ImageConfig {
  const value = parse(bytes, 'config', from);
  const { rootfs } = value;
  const ids = isObject(rootfs) ? rootfs.diff_ids : undefined;
  if (ids === undefined || ids === null) {
    if (manifest.layers.length > 0)
      throw bad(from, 'it is no container image: its config has no rootfs', 'unsupported');
    value.rootfs = { type: 'layers', diff_ids: [] };
  } else {
    if (!Array.isArray(ids) || !ids.every((id) => typeof id === 'string' && isDigest(id))) {
      throw bad(from, 'its config has invalid diff_ids');
    }
    if (ids.length !== manifest.layers.length) {
      throw bad(from, `its config names ${ids.length} layers, its manifest ${manifest.layers.length}`);
    }
  }
  if (typeof value.os !== 'string' || value.os === '') value.os = 'linux';
  if (typeof value.architecture !== 'string') value.architecture = '';
  return value as unknown as ImageConfig;
}

/** Whether an index entry is an image (not an attestation or a signature). */
export function isImageEntry(child: Descriptor): boolean {
  if (child.annotations?.['vnd.docker.reference.type'] !== undefined) return false;
  return child.platform?.architecture !== 'unknown' && child.platform?.os !== 'unknown';
}

/** The entries of an index that match a platform, best match first. */
export function rankPlatforms(index: Index, platform: Platform): Descriptor[] {
  const images = index.manifests.filter(isImageEntry);
  const scored = images.map((child) => {
    if (child.platform !== undefined) return { child, score: platformScore(platform, child.platform) };
    // An entry without a platform counts when it is the only one. An index in an index may hold any platform.
    return { child, score: images.length === 1 || isIndexType(child.mediaType) ? 1 : 0 };
  });
  return scored
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .map(({ child }) => child);
}

/** The platforms as text: `linux/amd64, linux/arm64`. */
export function platformList(index: Index): string {
  const names = index.manifests
    .filter(isImageEntry)
    .map(({ platform }) => (platform === undefined ? 'unknown' : formatPlatform(platform)));
  return [...new Set(names)].join(', ') || 'none';
}

/** The layers of an image, lowest first: digests of the uncompressed tars with their descriptors. */
export function layersOf(
  manifest: Manifest,
  config: ImageConfig,
): { descriptor: Descriptor; diffId: Digest }[] {
  return manifest.layers.map((layer, i) => ({
    descriptor: layer,
    diffId: config.rootfs.diff_ids[i] as Digest,
  }));
}
