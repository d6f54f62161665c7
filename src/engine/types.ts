/** The contract of a build: its request, and its result. */
import type { Attestation, ProvenanceOptions, SbomOptions } from '../attest/index.ts';
import type { MadeNow, OutputSink, StoredOutput } from '../exporter/index.ts';
import type { DockerfileRequest, LintWarning } from '../frontend/index.ts';
import type { SourceRewrite } from '../llb/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import type { Policy } from '../pb/moby/buildkit/v1/sourcepolicy/policy_pb.js';
import type { WorkerRecord } from '../pb/moby/buildkit/v1/types/worker_pb.js';
import type { CacheSpec } from '../remote-cache/index.ts';
import type { BuildOrigin } from '../solver/index.ts';
import type { Bridge } from './bridge/bridge.ts';
import type { PolicyCheck } from './bridge/source-judge.ts';
import type { BridgeRequest, BridgeResult, Frontend, NamedFrontends } from './bridge/types.ts';
import type { LinkedRequests } from './frontends/linked.ts';
import type { Lock } from './lock.ts';

/**
 * One output of a build: its kind, its attributes, and its destination.
 *
 *     { type: 'local', attrs: { 'platform-split': 'true' }, sink: { files: '/out' } }
 */
export interface OutputSpec {
  type: 'image' | 'oci' | 'docker' | 'local' | 'tar' | 'cacheonly';
  /**
   * Attributes as in buildx: name, dest, push, compression, compression-level, force-compression, oci-mediatypes,
   * rewrite-timestamp, annotation.*, tar …
   */
  attrs: Record<string, string>;
  /** Takes the files or the archive that the output makes. */
  sink?: OutputSink;
  /**
   * Images that lose their last name to this one are removed, as with buildkitd; otherwise they stay as `<none>`, as
   * with dockerd.
   */
  forgetsReplaced?: boolean;
}

/**
 * The request for a build, from a command, the library or an API. `dockerfileBuild` makes one of a Dockerfile:
 *
 *     { frontend: dockerfile(options), outputs: [{ type: 'image', attrs: {} }], tags: ['app'], allow: [] }
 */
export interface BuildRequest {
  /** The function that makes the result; see `engine/frontends` for its makers. */
  frontend: Frontend;
  outputs: readonly OutputSpec[];
  /**
   * The same frontend without the cache. With it the build is made twice first, and fails, with what differs, unless both
   * have made the same.
   */
  verifyBy?: Frontend;
  /** The request as it came over BuildKit's API, for the provenance. */
  asked?: Pick<BridgeRequest, 'frontend' | 'options' | 'inputs'>;
  /** What is built from what, where the request says it: for telling builds from others. */
  origin?: Pick<BuildOrigin, 'file' | 'context'>;
  /** Names for the outputs that have none of their own. */
  tags?: readonly string[];
  /** SOURCE_DATE_EPOCH, in s since 1970; default: the frontend's. */
  sourceDateEpoch?: number;
  /**
   * The platforms that the frontend is asked for, comma-separated; default: the host's. A warning tells of a result for
   * others.
   */
  platform?: string;
  /** Foreign caches in which steps are looked up, besides the local one. */
  cacheFrom?: readonly CacheSpec[];
  /** Foreign caches that the build's cache is written to. */
  cacheTo?: readonly CacheSpec[];
  /** The entitlements that are granted: `network.host`, `security.insecure`, `device`, `device=NAME[,alias=NAME]`. */
  allow: readonly string[];
  /** Has all steps with a network go by a proxy, which sees and notes what they ask for. */
  proxyNetwork?: boolean;
  /** Asks nobody on the network for sources, caches and pushes; steps keep the network that they have. */
  offline?: boolean;
  /** Puts one source in the place of another, or denies it: the source policies of the request. */
  rewrite?: SourceRewrite;
  /** Asks the client's own policy about each source that is used. */
  policyCheck?: PolicyCheck;
  /** The frontends that the build may name; default: all that there are. */
  frontends?: NamedFrontends;
  /** The workers that frontends are told of. */
  workers?: readonly WorkerRecord[];
  /** Images get docker's media types unless an output says otherwise. */
  dockerTypes?: boolean;
  /** Asks for a provenance of each result; default: none. */
  provenance?: ProvenanceOptions;
  /** Asks for a bill of materials of each result; default: none. */
  sbom?: SbomOptions;
  /** Asks for the lock of the build's sources (`Built.lock`). */
  locks?: boolean;
  /** Asks for predicates of all results for the record of the build (`Built.predicates`). */
  recorded?: boolean;
  /** The ID by which `explain` knows the build; default one of its own. */
  knownAs?: string;
  /** The client's place in a trace (W3C's `traceparent`), under which the build's spans come. */
  traceparent?: string;
  /** Dates an image whose build changed only the config; see `ExportRequest.madeNow`. */
  madeNow?: MadeNow;
  /** Chooses further outputs once the result is there. They are made after the others. */
  furtherOutputs?(bridge: Bridge, result: BridgeResult): Promise<readonly OutputSpec[]>;
  /** Hears of the exporters' responses when everything is exported. An error that it throws fails the build. */
  exported?(result: BridgeResult, metadata: Record<string, unknown>): Promise<void>;
}

/**
 * The options of a build of a Dockerfile, as a command and the library know them. `dockerfileBuild` makes a request of
 * them.
 */
export interface BuildOptions extends DockerfileRequest {
  /** Further builds, by name, whose results are named contexts `target:NAME` of this one, or of each other. */
  linked?: LinkedRequests;
  tags: string[];
  outputs: OutputSpec[];
  /** Foreign caches in which steps are looked up, besides the local one (`--cache-from`). */
  cacheFrom?: readonly CacheSpec[];
  /** Foreign caches that the build's cache is written to (`--cache-to`). */
  cacheTo?: readonly CacheSpec[];
  /** Asks for a provenance of each result; default: as the build argument BUILDKIT_ATTEST_PROVENANCE says. */
  provenance?: ProvenanceOptions | false;
  /** Asks for a bill of materials of each result; default: as the build argument BUILDKIT_ATTEST_SBOM says. */
  sbom?: SbomOptions | false;
  /** Puts one source in the place of another, or denies it. */
  sourcePolicy?: Policy;
  /** Asks for the lock of the build's sources. */
  locks?: boolean;
  /** Builds twice without cache first, and fails when the results differ; default: as the build argument DRYDOCK_VERIFY_REPRODUCIBLE says. */
  verifyReproducible?: boolean;
  /** Runs the build checks and nothing else. */
  check: boolean;
  /** Has all steps with a network go by a proxy, which sees and notes what they ask for. */
  proxyNetwork?: boolean;
  /** Asks nobody on the network for sources and caches; default: as the build argument DRYDOCK_OFFLINE says. */
  offline?: boolean;
  /** The entitlements that are granted: `network.host`, `security.insecure`, `device`, `device=NAME[,alias=NAME]`. */
  allow: string[];
}

/** The result of a build, for commands and the library. */
export interface BuildResult {
  /** The ID (config digest) of the first image, when an image was made. */
  imageId?: Digest;
  /** The descriptor of the image's manifest, or of its index. */
  descriptor?: Descriptor;
  /**
   * The exporters' responses, with the keys of buildx's --metadata-file: `containerimage.digest`,
   * `containerimage.config.digest`, `image.name` …
   */
  metadata: Record<string, unknown>;
  warnings: LintWarning[];
  /** What the frontend answered to a `subrequest`: `result.json`, `result.txt` …. */
  answer?: Readonly<Record<string, Uint8Array>>;
  /** The sum of the image's layers, uncompressed, in bytes. */
  size?: number;
  /** The images that were put into this process's store. */
  stored?: readonly StoredOutput[];
}

/** The result of `runBuild`. */
export interface Built extends BuildResult {
  /** The lock of the build's sources, where the request asks for it. */
  lock?: Lock;
  stored: readonly StoredOutput[];
  result: BridgeResult;
  /** The provenances of the results, by the results' names; '' for a result that is no list. */
  predicates?: ReadonlyMap<string, Pick<Attestation, 'predicateType' | 'predicate'>>;
  /** The images that outputs made, by the outputs' places in the request. */
  descriptors: ReadonlyMap<number, Descriptor>;
  /** The manifests, configs and indexes of those images. */
  documents: readonly Buffer[];
}
