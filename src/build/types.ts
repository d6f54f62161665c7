/** The door of build: one build from request to result. */

import type { LintWarning } from '../frontend/types.ts';
import type { Descriptor, Digest, ImageConfig, Platform } from '../oci/types.ts';
import type { Session } from '../session/types.ts';
import type { ProgressSink } from '../solver/progress.ts';
import type { Ref } from '../store/ref.ts';

/** Where the build context comes from. */
export type ContextSource =
  | { type: 'local' /** Session's local name. */; name: string }
  | { type: 'upload'; id: string }
  | { type: 'remote' /** git or http(s) URL */; url: string };

export interface OutputSpec {
  type: 'image' | 'oci' | 'docker' | 'local' | 'tar';
  /** Attributes as in buildx: name, dest, push, compression, compression-level, force-compression, oci-mediatypes, rewrite-timestamp, annotation.*, tar … */
  attrs: Record<string, string>;
}

export interface BuildOptions {
  context: ContextSource;
  /** Path of the Dockerfile in the context (or in the session's `dockerfile` local), default `Dockerfile`. */
  dockerfile?: string;
  /** The Dockerfile's text, when it does not come from the context. */
  dockerfileText?: string;
  /** Session local that holds the Dockerfile; default: the context's own. */
  dockerfileLocal?: string;
  target?: string;
  buildArgs: Record<string, string>;
  labels: Record<string, string>;
  tags: string[];
  platforms: Platform[];
  noCache: boolean;
  noCacheFilter: string[];
  pull: boolean;
  network: 'default' | 'host' | 'none';
  extraHosts: { host: string; ip: string }[];
  shmSize: number;
  ulimits: { name: string; soft: number; hard: number }[];
  /** `--build-context NAME=VALUE`, values as written (`docker-image://…`, a URL, `local:<session name>`, `oci-layout://…`). */
  namedContexts: Record<string, string>;
  outputs: OutputSpec[];
  /** Seconds since the epoch, as SOURCE_DATE_EPOCH. */
  sourceDateEpoch?: number;
  /** Only run the build checks. */
  check: boolean;
  /** Entitlements granted: `network.host`, `security.insecure`. */
  allow: string[];
  hostname?: string;
  cgroupParent?: string;
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
}

/** A solved image ready for export: one per platform. */
export interface PlatformResult {
  platform: Platform;
  /** undefined: an empty filesystem */
  ref: Ref | undefined;
  config: ImageConfig;
}

export type RunBuild = (
  options: BuildOptions,
  session: Session,
  progress: ProgressSink,
  signal: AbortSignal,
) => Promise<BuildResult>;
