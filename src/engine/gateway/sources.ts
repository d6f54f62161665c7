/** Looks sources up before they are solved: ResolveImageConfig and ResolveSourceMeta of LLBBridge. */
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type AttestationChain, attestationChain } from '../../distribution/index.ts';
import { fail, offline } from '../../errors/index.ts';
import { platformOf, sourceRewrite } from '../../llb/index.ts';
import { normalizeName, pullPolicyOf } from '../../oci/index.ts';
import {
  type ChecksumRequest,
  ChecksumRequest_ChecksumAlgo,
  type ResolveImageConfigRequest,
  type ResolveImageConfigResponse,
  ResolveImageConfigResponseSchema,
  type ResolveSourceMetaRequest,
  type ResolveSourceMetaResponse,
  ResolveSourceMetaResponseSchema,
} from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { Policy } from '../../pb/moby/buildkit/v1/sourcepolicy/policy_pb.js';
import type { Platform as PbPlatform, SourceOp } from '../../pb/solver/pb/ops_pb.js';
import type { VertexProgress } from '../../progress/index.ts';
import {
  type GitObjects,
  type GitRef,
  gitObjects,
  gitOptions,
  type HttpChecksum,
  httpMeta,
  resolveImageConfig,
  verifiedRef,
} from '../../source/index.ts';
import type { Bridge } from '../bridge/bridge.ts';
import { imageAfter, type SourcePolicy, settled } from '../bridge/image-policy.ts';
import { inTurn } from '../rules.ts';

/** The parts of a build that looking a source up needs. */
type Lookup = Pick<Bridge, 'engine' | 'job' | 'lease'>;

interface ImageAsk {
  ref: string;
  platform: PbPlatform | undefined;
  mode: string;
  logName: string;
  /** The client's name of an OCI layout. */
  store?: string;
}

async function resolve(bridge: Lookup, ask: ImageAsk, policy: SourcePolicy, wanted?: readonly string[]) {
  const { engine, job, lease } = bridge;
  const title = ask.logName || `resolve image config for docker-image://${ask.ref}`;
  return job.inVertex(title, async () => {
    const ref = ask.store === undefined ? await imageAfter(policy, ask.ref, ask.platform) : ask.ref;
    const found = await resolveImageConfig(engine, ref, {
      platform: platformOf(ask.platform),
      pull: pullPolicyOf(ask.mode) ?? 'missing',
      lease,
      session: job.session,
      pins: job.pins,
      signal: job.signal,
      ociLayoutStore: ask.store,
    });
    const bytes = await configBytes(bridge, found);
    const chain =
      wanted && ask.store === undefined ? await chainOf(bridge, found, ask.platform, wanted) : undefined;
    return { ref, digest: found.digest, bytes, chain };
  });
}

/** What is stated of an image, with the statements whose predicates are of the wanted types. */
async function chainOf(
  { engine, job, lease }: Lookup,
  { ref, target, local }: Awaited<ReturnType<typeof resolveImageConfig>>,
  platform: PbPlatform | undefined,
  predicateTypes: readonly string[],
): Promise<AttestationChain | undefined> {
  const { session, signal } = job;
  const credentials = (host: string) => session.credentials(host);
  if (session.offline && !local) throw offline('registry', `what is stated of ${ref} is not here`);
  return attestationChain(engine.store, engine.registry, ref, target, {
    ...{ platform: platformOf(platform), predicateTypes, local, lease, signal, credentials },
  });
}

/** The chain as a message; undefined when there is none. */
function chainMessage(chain: AttestationChain | undefined) {
  if (chain === undefined) return undefined;
  const Blobs = chain.blobs.map(({ descriptor, bytes }) => {
    const { mediaType, digest, size, annotations = {} } = descriptor;
    return [
      digest,
      { descriptor: { mediaType, digest, size: BigInt(size), annotations }, data: bytes },
    ] as const;
  });
  return {
    Root: chain.root,
    ImageManifest: chain.image,
    AttestationManifest: chain.attestation ?? '',
    SignatureManifests: chain.signatures,
    Blobs: Object.fromEntries(Blobs),
  };
}

/** The config as the store has it, byte for byte, or as it was read when the store does not have it. */
async function configBytes(
  { engine }: Lookup,
  found: Awaited<ReturnType<typeof resolveImageConfig>>,
): Promise<Uint8Array> {
  const { manifest, config } = found;
  if (manifest !== undefined && (await engine.store.content.info(manifest.digest)) !== undefined) {
    const parsed = JSON.parse((await engine.store.content.bytes(manifest.digest)).toString('utf8')) as {
      config?: { digest?: unknown };
    };
    const digest = parsed.config?.digest;
    if (typeof digest === 'string' && (await engine.store.content.info(digest as `sha256:${string}`))) {
      return engine.store.content.bytes(digest as `sha256:${string}`);
    }
  }
  return Buffer.from(JSON.stringify(config));
}

/**
 * The config and the digest of an image. `Ref` is the name that was asked for, or the one that the policies have put in
 * its place; clients pin it by the digest themselves. Throws `denied`, and the errors of looking it up.
 */
export async function imageConfig(
  bridge: Bridge,
  request: ResolveImageConfigRequest,
): Promise<ResolveImageConfigResponse> {
  const ask = {
    ref: request.Ref,
    platform: request.Platform,
    mode: request.ResolveMode,
    logName: request.LogName,
    store: request.ResolverType === 1 ? request.StoreID : undefined,
  };
  const found = await resolve(bridge, ask, withPolicies(bridge, request.SourcePolicies));
  return create(ResolveImageConfigResponseSchema, {
    Digest: found.digest,
    Config: found.bytes,
    Ref: found.ref,
  });
}

/**
 * A source as it will be used, with everything that can be known of it beforehand: the digest and the config of an
 * image, and what is stated of it if that is wanted; the commit that a git ref is at, with the commit's object and the tag's if they are wanted; the digest of a
 * URL's file, by another algorithm too if that is wanted. Other sources come back as they are. The source is checked
 * against the request's policies, then against the build's own. Throws `invalid` without a source, `denied`, and the
 * errors of looking it up.
 */
export function sourceMeta(
  bridge: Bridge,
  request: ResolveSourceMetaRequest,
): Promise<ResolveSourceMetaResponse> {
  return lookUpSource(bridge, request, withPolicies(bridge, request.SourcePolicies));
}

/** The same, checked against `policy` alone. */
export async function lookUpSource(
  bridge: Lookup,
  request: ResolveSourceMetaRequest,
  policy: SourcePolicy,
): Promise<ResolveSourceMetaResponse> {
  const asked = request.Source;
  if (asked === undefined) throw fail('invalid', 'llb', 'source is required');
  const source = await settled(policy, named(asked), request.Platform);
  const at = source.identifier.indexOf('://');
  if (at < 0) throw fail('invalid', 'llb', `failed to parse source identifier ${source.identifier}`);
  const scheme = source.identifier.slice(0, at);
  const rest = source.identifier.slice(at + 3);
  const title = request.LogName || `resolve ${scheme} source metadata`;
  if (scheme === 'git') {
    const found = await bridge.job.inVertex(title, async (progress) => {
      const ref = await gitMeta(bridge, source, progress);
      if (!request.Git?.ReturnObject) return ref;
      const { engine, job } = bridge;
      const options = gitOptions(source.identifier, source.attrs);
      const ctx = { session: job.session, signal: job.signal, progress };
      return { ...ref, ...(await gitObjects(options, ref, engine, ctx)) };
    });
    const { sha, name, commit, commitObject, tagObject }: GitRef & Partial<GitObjects> = found;
    const git = {
      Checksum: sha,
      Ref: name,
      CommitChecksum: commit === sha ? '' : commit,
      CommitObject: commitObject,
      TagObject: tagObject,
    };
    return create(ResolveSourceMetaResponseSchema, { Source: source, Git: git });
  }
  if (scheme === 'http' || scheme === 'https') {
    const asked = request.HTTP?.ChecksumRequest;
    const wanted = asked && checksumWanted(asked);
    const { digest, filename, lastModified, checksum } = await bridge.job.inVertex(title, (progress) =>
      urlMeta(bridge, source, progress, wanted),
    );
    const modified = Date.parse(lastModified ?? '');
    const time = Number.isNaN(modified) ? undefined : timestampFromMs(modified);
    const http = {
      Checksum: digest,
      Filename: filename,
      LastModified: time,
      ChecksumResponse: wanted && { Digest: checksum, Suffix: wanted.suffix },
    };
    return create(ResolveSourceMetaResponseSchema, { Source: source, HTTP: http });
  }
  if (scheme !== 'docker-image' && scheme !== 'oci-layout') {
    return create(ResolveSourceMetaResponseSchema, { Source: source });
  }
  const ask = {
    ref: scheme === 'docker-image' ? normalizeName(rest) : rest,
    platform: request.Platform,
    mode: request.ResolveMode || source.attrs['image.resolvemode'] || '',
    logName: request.LogName,
    store: scheme === 'oci-layout' ? source.attrs['oci.store'] : undefined,
  };
  const { NoConfig = false, AttestationChain = false, ResolveAttestations = [] } = request.Image ?? {};
  const wanted = AttestationChain || ResolveAttestations.length > 0 ? ResolveAttestations : undefined;
  const found = await resolve(bridge, ask, {}, wanted);
  return create(ResolveSourceMetaResponseSchema, {
    Source: { identifier: `${scheme}://${scheme === 'oci-layout' ? rest : found.ref}`, attrs: asked.attrs },
    Image: {
      Digest: found.digest,
      Config: NoConfig ? new Uint8Array() : found.bytes,
      AttestationChain: chainMessage(found.chain),
    },
  });
}

/** A source with its image's name in full, as policies have it. */
function named(source: SourceOp): SourceOp {
  const scheme = 'docker-image://';
  const { identifier } = source;
  if (!identifier.startsWith(scheme)) return source;
  return { ...source, identifier: scheme + normalizeName(identifier.slice(scheme.length)) };
}

/** The policy of a build, after the policies in a request. */
function withPolicies({ rules: { rewrite, judge } }: Bridge, policies: readonly Policy[]): SourcePolicy {
  return { rewrite: inTurn(sourceRewrite(policies), rewrite), judge };
}

async function gitMeta({ engine, job }: Lookup, { identifier, attrs }: SourceOp, progress: VertexProgress) {
  const { session, signal, pins } = job;
  const ctx = { session, signal, progress, pins };
  const found = await verifiedRef(gitOptions(identifier, attrs), engine, ctx);
  pins.tell(identifier, found.sha);
  return found;
}

const algorithms: Readonly<Record<number, HttpChecksum['algorithm']>> = {
  [ChecksumRequest_ChecksumAlgo.SHA256]: 'sha256',
  [ChecksumRequest_ChecksumAlgo.SHA384]: 'sha384',
  [ChecksumRequest_ChecksumAlgo.SHA512]: 'sha512',
};
/** The longest suffix, in bytes: signatures put some dozens behind a file. */
const longestSuffix = 4096;

function checksumWanted({ Algo, Suffix }: ChecksumRequest): HttpChecksum {
  const algorithm = algorithms[Algo];
  if (algorithm === undefined) throw fail('invalid', 'client', `unsupported checksum algorithm ${Algo}`);
  if (Suffix.length > longestSuffix) {
    throw fail('invalid', 'client', `http checksum request suffix exceeds max size ${longestSuffix}`);
  }
  return { algorithm, suffix: Suffix };
}

/**
 * The metadata of a URL. The file is downloaded for it, stays until the build is over, and is the one that the build
 * uses if it uses the URL.
 */
async function urlMeta(
  { engine, job }: Lookup,
  source: SourceOp,
  progress: VertexProgress,
  wanted?: HttpChecksum,
) {
  const { session, signal, pins } = job;
  const onRelease = (cleanup: () => void | Promise<void>) => pins.onEnd(cleanup);
  const found = await httpMeta(source, engine, { session, signal, progress, onRelease, pins }, wanted);
  pins.tell(source.identifier, found.digest);
  return found;
}
