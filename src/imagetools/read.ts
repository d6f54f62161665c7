/** Reads the manifests that `imagetools` is given. */
import { parseManifest, readConfig } from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  familiarName,
  type ImageConfig,
  isDigest,
  isIndexType,
  maxBytes,
  normalizePlatform,
  parseReference,
} from '../oci/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { Source } from './combine.ts';

/** The caller's credentials and signal. */
export type RegistryContext = NonNullable<Parameters<RegistryClient['manifest']>[1]>;

/** What a source is named by: a reference, or what a descriptor tells of a manifest in a repository to be found out. */
type SourceName =
  | { reference: string }
  | { digest: Digest; told: Partial<Pick<Descriptor, 'annotations' | 'platform'>> };

/**
 * Reads the name of a source: a reference, a digest alone, or a descriptor as JSON. Throws `invalid`. Pure.
 *
 *     sourceName('{"digest":"sha256:…","platform":{"os":"linux","architecture":"arm64"}}')
 */
export function sourceName(text: string): SourceName {
  const word = text.trim();
  if (isDigest(word)) return { digest: word, told: {} };
  if (!word.startsWith('{')) {
    parseReference(word);
    return { reference: word };
  }
  let json: { digest?: unknown; annotations?: unknown; platform?: unknown };
  try {
    json = JSON.parse(word);
  } catch (cause) {
    throw fail('invalid', 'client', 'a source is no JSON of a descriptor', { cause });
  }
  const { digest, annotations, platform } = json;
  if (typeof digest !== 'string' || !isDigest(digest)) {
    throw fail('invalid', 'client', `the descriptor of a source has the digest ${JSON.stringify(digest)}`);
  }
  return {
    digest,
    told: {
      ...(isTexts(annotations) && { annotations }),
      ...(isPlatform(platform) && { platform: normalizePlatform(platform) }),
    },
  };
}

function isTexts(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((each) => typeof each === 'string')
  );
}

function isPlatform(value: unknown): value is NonNullable<Descriptor['platform']> {
  const { os, architecture } = (value ?? {}) as Record<string, unknown>;
  return typeof os === 'string' && typeof architecture === 'string';
}

/** The repository of a reference: `docker.io/library/app`. */
export function repositoryOf(reference: string): string {
  const { domain, path } = parseReference(reference);
  return `${domain}/${path}`;
}

/**
 * Fetches sources. Those that are named by a digest alone are in the one repository that the others and `tags` name.
 * Throws `invalid` when there are several, and the errors of registries.
 */
export async function readSources(
  client: RegistryClient,
  names: readonly SourceName[],
  tags: readonly string[],
  ctx: RegistryContext,
): Promise<Source[]> {
  const references = names.flatMap((name) => ('reference' in name ? [name.reference] : []));
  const repositories = [...new Set([...references, ...tags].map(repositoryOf))];
  const needsOne = names.some((name) => 'digest' in name);
  if (needsOne && repositories.length !== 1) {
    throw fail('invalid', 'client', 'a source that is a digest alone may be in several repositories', {
      hint: `Write it as REPOSITORY@DIGEST${repositories.length > 1 ? `; there are ${repositories.join(', ')}` : ''}.`,
    });
  }
  return Promise.all(
    names.map(async (name) => {
      const reference = 'reference' in name ? name.reference : `${repositories[0]}@${name.digest}`;
      const source = await readSource(client, reference, ctx);
      if ('reference' in name) return source;
      return { ...source, descriptor: { ...source.descriptor, ...name.told } };
    }),
  );
}

/** Fetches a manifest or an index; the descriptor of an image's manifest tells its platform. */
export async function readSource(
  client: RegistryClient,
  reference: string,
  ctx: RegistryContext,
): Promise<Source> {
  const { descriptor, bytes } = await client.manifest(reference, ctx);
  const repository = repositoryOf(reference);
  if (isIndexType(descriptor.mediaType)) return { repository, descriptor, bytes };
  const config = await configOf(client, repository, bytes, ctx);
  if (config === undefined) return { repository, descriptor, bytes };
  const { os, architecture, variant } = config;
  const platform = {
    architecture,
    os,
    ...(config['os.version'] !== undefined && { 'os.version': config['os.version'] }),
    ...(config['os.features'] !== undefined && { 'os.features': config['os.features'] }),
    ...(variant !== undefined && { variant }),
  };
  return { repository, descriptor: { ...descriptor, platform }, bytes };
}

/** The config of an image's manifest; undefined when the manifest is no image's. */
export async function configOf(
  client: RegistryClient,
  repository: string,
  bytes: Buffer,
  ctx: RegistryContext,
): Promise<ImageConfig | undefined> {
  const from = { name: familiarName(repository), hop: 'registry' } as const;
  const manifest = parseManifest(bytes, from);
  const { config } = manifest;
  if (!/config\.v1\+json$|container\.image\.v1\+json$/.test(config.mediaType)) return undefined;
  const json = await readBlob(client, repository, config, maxBytes, ctx);
  return readConfig(json, manifest, from);
}

/** The bytes of a small blob. Throws `exhausted` when it is larger than `most`. */
export async function readBlob(
  client: RegistryClient,
  repository: string,
  blob: Descriptor,
  most: number,
  ctx: RegistryContext,
): Promise<Buffer> {
  if (blob.size > most) {
    throw fail('exhausted', 'registry', `${blob.digest} has ${blob.size} bytes, more than ${most}`);
  }
  const chunks: Buffer[] = [];
  for await (const chunk of await client.blob(repository, blob, ctx)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
