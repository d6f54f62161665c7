/** What a registry tells of an image: its manifests, configs, and what is stated of each platform's image. */
import { attestationEntries, isImageEntry, parseIndex, parseManifest } from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import {
  type Descriptor,
  formatPlatform,
  type ImageConfig,
  type Index,
  isIndexType,
  isManifestType,
  jsonExcess,
  type Platform,
} from '../oci/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import { configOf, type RegistryContext, readBlob, readSource } from './read.ts';

/** The image of one platform. */
export interface PlatformFacts {
  /** `linux/amd64` */
  platform: string;
  config: ImageConfig;
  /** The predicate of a SLSA provenance. */
  provenance?: unknown;
  /** SPDX documents. */
  sboms: unknown[];
}

/** An image as `imagetools inspect` tells of it. */
export interface ImageFacts {
  descriptor: Descriptor;
  bytes: Buffer;
  /** The index; undefined when the name is that of one manifest. */
  index?: Index;
  /** The images, in the index's order. */
  platforms: PlatformFacts[];
}

/** The largest statement in bytes that is read. */
const maxStatement = 40 << 20;
/** As many images of an index are read. */
const maxImages = 200;

/**
 * Fetches what a reference names. Configs and statements are fetched when `details` says so. Throws the errors of
 * registries, `corrupt` for documents that are none.
 */
export async function imageFacts(
  client: RegistryClient,
  reference: string,
  details: boolean,
  ctx: RegistryContext,
): Promise<ImageFacts> {
  if (!details) {
    const { descriptor, bytes } = await client.manifest(reference, ctx);
    return { descriptor, bytes, ...indexIn(reference, descriptor, bytes), platforms: [] };
  }
  const { descriptor, bytes, repository } = await readSource(client, reference, ctx);
  const { platform, ...plain } = descriptor;
  const { index } = indexIn(reference, descriptor, bytes);
  if (index === undefined) {
    const config = platform === undefined ? undefined : await configOf(client, repository, bytes, ctx);
    const only = config === undefined ? [] : [{ platform: nameOf(platform, config), config, sboms: [] }];
    return { descriptor: plain, bytes, platforms: only };
  }
  const about = attestationEntries(index.manifests);
  const images = index.manifests.filter((each) => isImageEntry(each) && isManifestType(each.mediaType));
  if (images.length > maxImages) {
    throw fail('exhausted', 'registry', `${reference} lists ${images.length} images, more than ${maxImages}`);
  }
  const platforms: PlatformFacts[] = [];
  for (const image of images) {
    const manifest = await client.manifest(`${repository}@${image.digest}`, ctx);
    const config = await configOf(client, repository, manifest.bytes, ctx);
    if (config === undefined) continue;
    const stated = about.filter((each) => each.about === image.digest).map(({ entry }) => entry);
    platforms.push({
      platform: nameOf(image.platform, config),
      config,
      ...(await statementsIn(client, repository, stated, ctx)),
    });
  }
  return { descriptor: plain, bytes, index, platforms };
}

function indexIn(name: string, { mediaType }: Descriptor, bytes: Buffer): { index?: Index } {
  return isIndexType(mediaType) ? { index: parseIndex(bytes, { name, hop: 'registry' }) } : {};
}

function nameOf(platform: Platform | undefined, config: ImageConfig): string {
  return formatPlatform(platform ?? config);
}

async function statementsIn(
  client: RegistryClient,
  repository: string,
  entries: readonly Descriptor[],
  ctx: RegistryContext,
): Promise<Pick<PlatformFacts, 'provenance' | 'sboms'>> {
  let provenance: unknown;
  const sboms: unknown[] = [];
  for (const { digest } of entries) {
    const name = `${repository}@${digest}`;
    const { bytes } = await client.manifest(name, ctx);
    for (const layer of parseManifest(bytes, { name, hop: 'registry' }).layers) {
      const type = layer.annotations?.['in-toto.io/predicate-type'] ?? '';
      const isProvenance = type.startsWith('https://slsa.dev/provenance/');
      if (!isProvenance && type !== 'https://spdx.dev/Document') continue;
      const predicate = predicateOf(name, await readBlob(client, repository, layer, maxStatement, ctx));
      if (isProvenance) provenance ??= predicate;
      else sboms.push(predicate);
    }
  }
  return { ...(provenance !== undefined && { provenance }), sboms };
}

function predicateOf(name: string, bytes: Buffer): unknown {
  const excess = jsonExcess(bytes.toString('latin1'), { depth: 500, values: 5_000_000 });
  if (excess !== undefined)
    throw fail('exhausted', 'registry', `${name}: a statement has too many ${excess}`);
  try {
    return (JSON.parse(bytes.toString('utf8')) as { predicate?: unknown }).predicate;
  } catch (cause) {
    throw fail('corrupt', 'registry', `${name}: a statement is no JSON`, { cause });
  }
}
