/** The door of engine: one build from request to result. */
import type { MadeNow, OutputSink, StoredOutput } from '../exporter/index.ts';
import type { DockerfileRequest, LintWarning } from '../frontend/index.ts';
import type { SourceRewrite } from '../llb/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import type { WorkerRecord } from '../pb/moby/buildkit/v1/types/worker_pb.js';
import type { CacheSpec } from '../remote-cache/index.ts';
import type { Bridge } from './bridge/bridge.ts';
import type { PolicyCheck } from './bridge/source-judge.ts';
import type { BridgeResult, Frontend, NamedFrontends } from './bridge/types.ts';

export interface OutputSpec {
  type: 'image' | 'oci' | 'docker' | 'local' | 'tar' | 'cacheonly';
  /** Attributes as in buildx: name, dest, push, compression, compression-level, force-compression, oci-mediatypes, rewrite-timestamp, annotation.*, tar … */
  attrs: Record<string, string>;
  /** Where files or an archive go. */
  sink?: OutputSink;
  /** Images that lose their last name to this one go, as with buildkitd; else they stay as `<none>`, as with dockerd. */
  forgetsReplaced?: boolean;
}

/** A build, whoever asks for it. */
export interface BuildRequest {
  /** What is built. */
  frontend: Frontend;
  outputs: readonly OutputSpec[];
  /** Names of the outputs that have none of their own. */
  tags?: readonly string[];
  /** s since 1970; default: what the frontend says. */
  sourceDateEpoch?: number;
  /** Platforms that the frontend is asked for, comma-separated; default: the host's. A result of others is warned of. */
  platform?: string;
  /** Caches from elsewhere to look steps up in, beside the local one. */
  cacheFrom?: readonly CacheSpec[];
  /** Where to write the build's cache for others. */
  cacheTo?: readonly CacheSpec[];
  /** Entitlements granted: `network.host`, `security.insecure`. */
  allow: readonly string[];
  /** What becomes of the sources that are named. */
  rewrite?: SourceRewrite;
  /** Asks the client's own policy about each source that is used. */
  policyCheck?: PolicyCheck;
  /** Frontends that the build may name; default: all there are. */
  frontends?: NamedFrontends;
  /** What frontends are told of the workers there are. */
  workers?: readonly WorkerRecord[];
  /** Images have docker's media types unless an output says otherwise. */
  dockerTypes?: boolean;
  /** Images of nothing but a changed config are of the time of their making, as `ExportRequest` has it. */
  madeNow?: MadeNow;
  /** What of the request has no effect here, a sentence each: shown as warnings. */
  notes?: readonly string[];
  /** Outputs that are chosen once the result is there; they come after the others. */
  furtherOutputs?(bridge: Bridge, result: BridgeResult): Promise<readonly OutputSpec[]>;
  /** Is told of the exporters' responses when all is exported; what it throws fails the build. */
  exported?(result: BridgeResult, metadata: Record<string, unknown>): Promise<void>;
}

/** A build of a Dockerfile, as commands and the library ask for it; `dockerfileBuild` makes the request of it. */
export interface BuildOptions extends DockerfileRequest {
  tags: string[];
  outputs: OutputSpec[];
  /** Caches from elsewhere to look steps up in, beside the local one (`--cache-from`). */
  cacheFrom?: readonly CacheSpec[];
  /** Where to write the build's cache for others (`--cache-to`). */
  cacheTo?: readonly CacheSpec[];
  /** Only run the build checks. */
  check: boolean;
  /** Entitlements granted: `network.host`, `security.insecure`. */
  allow: string[];
}

export interface BuildResult {
  /** Image ID (config digest) of the (first) image, when an image was made. */
  imageId?: Digest;
  /** Descriptor of the manifest or index. */
  descriptor?: Descriptor;
  /** Keys as buildx writes them in --metadata-file: `containerimage.digest`, `containerimage.config.digest`, `image.name`, … */
  metadata: Record<string, unknown>;
  warnings: LintWarning[];
  /** Total bytes of the image's layers, uncompressed. */
  size?: number;
  /** Images that were put into this process's store. */
  stored?: readonly StoredOutput[];
}

/** What became of a build. */
export interface Built extends BuildResult {
  stored: readonly StoredOutput[];
  result: BridgeResult;
  /** What outputs that make images made, by their place among the outputs. */
  descriptors: ReadonlyMap<number, Descriptor>;
  /** The manifests, configs and indexes of those. */
  documents: readonly Buffer[];
}
