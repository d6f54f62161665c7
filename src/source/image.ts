/**
 * `docker-image://REF`: an image of the store or of a registry; and the lookup of an image's config, which frontends do
 * first.
 */
import { layersOf, type ResolvedDocuments, readDocuments, resolveImage } from '../distribution/index.ts';
import { DrydockError, fail, offline } from '../errors/index.ts';
import { platformOf } from '../llb/index.ts';
import {
  chainId,
  type Descriptor,
  type Digest,
  digestOf,
  formatPlatform,
  type ImageConfig,
  isDigest,
  normalizeName,
  type Platform,
  type PullPolicy,
  parseReference,
  pullPolicyOf,
} from '../oci/index.ts';
import type { Session } from '../session/index.ts';
import type { CacheMap, OpContext, Pins, Vertex } from '../solver/index.ts';
import { holdChain } from '../store/index.ts';
import { attrReader, sourceOf } from './attrs.ts';
import type { SourceDeps, SourceMaker } from './deps.ts';
import { lastImage, rememberImage } from './image/last-answer.ts';
import { ImageLayout } from './image/layout.ts';

interface ResolveOptions {
  platform: Platform;
  pull: PullPolicy;
  lease: string;
  session: Session;
  signal?: AbortSignal;
  /** The pins of the build that asks. */
  pins?: Pins;
  /** For `oci-layout://`: the session's name of the layout's folder. */
  ociLayoutStore?: string;
}

/** The facts about an image for a frontend (frontend's `ResolvedImage` has the same shape). */
interface ResolvedConfig {
  ref: string;
  digest: Digest;
  config: ImageConfig;
  manifest?: Descriptor;
  /** What its name leads to: the manifest itself or an index. */
  target: Descriptor;
  /** Whether only the store was asked. */
  local: boolean;
}

/**
 * The config of an image, without its layers. The manifest and the config stay in content under the lease. `ref` is
 * pinned by digest unless only the store knows the image. Throws `invalid` for a bad reference, `not-found` (with the
 * platforms that there are), `unauthenticated`, `denied`, `unavailable`, `corrupt`, `unsupported` (docker schema 1).
 */
export async function resolveImageConfig(
  deps: Pick<SourceDeps, 'store' | 'registry' | 'trust'>,
  ref: string,
  options: ResolveOptions,
): Promise<ResolvedConfig> {
  const { store, registry } = deps;
  const { platform, pull, lease, session, signal } = options;
  const name = ref.replace(/^(docker-image|oci-layout):\/\//, '');
  if (options.ociLayoutStore !== undefined) {
    const layout = await ImageLayout.open(store, options.ociLayoutStore, { session, signal });
    const target = await layout.target(parseReference(name));
    const found = await readDocuments(store, layout, target, platform, lease);
    const { config, manifest } = found;
    return { ref: name, digest: target.digest, config, manifest, target, local: false };
  }
  const { pins } = options;
  const found = await resolveOf({ store, registry }, name, { platform, pull, lease, signal, session, pins });
  await checkTrust(deps, normalizeName(name), found, { session, signal });
  pins?.tell(`docker-image://${normalizeName(name)}`, found.target.digest);
  if (found.local) await holdChain(store, lease, layerChain(found));
  const { target, config, manifest, local } = found;
  return { ref: found.ref, digest: target.digest, config, manifest, target, local };
}

/** Throws `denied` for an image that the operator's image policy does not let builds use. */
async function checkTrust(
  { trust }: Pick<SourceDeps, 'trust'>,
  name: string,
  found: ResolvedDocuments,
  { session, signal }: Pick<ResolveOptions, 'session' | 'signal'>,
): Promise<void> {
  const credentials = (host: string) => session.credentials(host);
  await trust?.check(name, found, { credentials, signal, offline: session.offline });
}

/** Resolves an image for a build: by the store, its registry, or, offline, by what that said last. */
async function resolveOf(
  { store, registry }: Pick<SourceDeps, 'store' | 'registry'>,
  ref: string,
  { session, ...options }: Omit<ResolveOptions, 'ociLayoutStore' | 'pins'> & { pins?: Pick<Pins, 'pin'> },
): Promise<ResolvedDocuments> {
  const credentials = (host: string) => session.credentials(host);
  const { platform, lease, signal, pull, pins } = options;
  const asked = () => ({ name: normalizeName(ref), platform, session, lease, signal });
  if (session.offline !== true) {
    const found = await resolveImage(store, registry, ref, { ...options, credentials });
    if (!found.local) await rememberImage(store, asked(), found);
    return found;
  }
  if (pull === 'always') {
    throw fail('invalid', 'registry', `an offline build asks no registry for ${ref} anew`, {
      hint: 'Leave --pull out, or --offline.',
    });
  }
  try {
    return await resolveImage(store, registry, ref, { ...options, pull: 'never', credentials });
  } catch (err) {
    if (!(err instanceof DrydockError) || err.code !== 'not-found') throw err;
  }
  if (pull === 'never')
    throw offline('registry', `no image ${ref} is here`, `Pull it before: drydock pull ${ref}.`);
  const find = () => lastImage(store, asked());
  return pins === undefined ? find() : pins.pin(`image offline ${ref} ${formatPlatform(platform)}`, find);
}

/** The LLB source `docker-image://`. */
export const imageSource: SourceMaker = (vertex, deps) => {
  const { store, registry, refs } = deps;
  const { identifier, attrs } = sourceOf(vertex);
  const name = normalizeName(identifier.slice('docker-image://'.length));
  const read = attrReader(attrs, identifier);
  const pull = pullOf(read.text('image.resolvemode'), identifier);
  const checksum = checksumOf(read.text('image.checksum'), identifier);
  const limit = layerLimit(read.number('image.layerlimit'), identifier);
  // What a result is kept as is for the exporters of others; ours keep whatever is used.
  read.skip('image.recordtype');
  read.done();
  const platform = vertexPlatform(vertex);
  let resolved: Promise<ResolvedDocuments> | undefined;
  const resolve = (ctx: OpContext): Promise<ResolvedDocuments> => {
    resolved ??= (async () => {
      const { lease, signal, pins, session } = ctx;
      const options = { platform, pull, lease, signal, session, pins };
      const found = await resolveOf({ store, registry }, name, options);
      if (checksum !== undefined && checksum !== found.target.digest && checksum !== found.manifest.digest) {
        throw fail(
          'corrupt',
          'registry',
          `image digest ${found.target.digest} for ${name} does not match expected checksum ${checksum}`,
        );
      }
      await checkTrust(deps, name, found, { session, signal });
      // Cached steps may stand on lazy layers of it.
      if (session.tenant === undefined) store.lazy?.lend(found.ref, (host) => session.credentials(host));
      return found;
    })();
    resolved.catch(() => {
      resolved = undefined;
    });
    return resolved;
  };
  return {
    async cacheMap(ctx) {
      const found = await resolve(ctx);
      const layers = limited(found, limit);
      const from = found.local ? undefined : found.ref;
      return {
        ...imageCacheMap(layers),
        found: found.target.digest,
        layers: layers.map(({ descriptor, diffId }) => ({ blob: descriptor, diffId, from })),
        used: { kind: 'image', ref: name, digest: found.target.digest, platform, layout: false },
      };
    },
    async exec(_, ctx) {
      const found = await resolve(ctx);
      const layers = limited(found, limit);
      if (found.local && !store.shared) {
        // The blobs of a built image may never have been made: its snapshot is the image.
        const key = await holdChain(store, ctx.lease, chainId(layers.map((layer) => layer.diffId)));
        if (key !== undefined) return [refs.snapshot(key)];
      }
      return [refs.image(found.ref, layers)];
    },
  };
};

/** The cache map of an image: its tree names it, whatever name, registry or compression it came with. */
export function imageCacheMap(layers: readonly { diffId: Digest }[]): CacheMap {
  const chain = chainId(layers.map((layer) => layer.diffId)) ?? 'empty';
  return { digest: digestOf(`image ${chain}`), deps: [] };
}

/** The platform that a source's op asks for. */
export function vertexPlatform(vertex: Vertex): Platform {
  return platformOf(vertex.op.platform);
}

function pullOf(text: string | undefined, identifier: string): PullPolicy {
  const pull = pullPolicyOf(text);
  if (pull !== undefined) return pull;
  throw fail('invalid', 'llb', `${identifier}: unknown image.resolvemode ${JSON.stringify(text)}`);
}

function checksumOf(text: string | undefined, identifier: string): Digest | undefined {
  if (text === undefined || isDigest(text)) return text;
  throw fail('invalid', 'llb', `${identifier}: image.checksum is no sha256 digest: ${JSON.stringify(text)}`);
}

function layerLimit(limit: number | undefined, identifier: string): number | undefined {
  if (limit === undefined || limit > 0) return limit;
  throw fail('invalid', 'llb', `${identifier}: invalid layer limit ${limit}`);
}

function limited(
  found: ResolvedDocuments,
  limit: number | undefined,
): { descriptor: Descriptor; diffId: Digest }[] {
  const layers = layersOf(found.document, found.config);
  return limit === undefined ? layers : layers.slice(0, limit);
}

function layerChain(found: ResolvedDocuments): Digest | undefined {
  return chainId(found.config.rootfs.diff_ids);
}
