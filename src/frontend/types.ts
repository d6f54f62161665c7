/** The contract of a frontend: its request, the services that it has of the engine, and its result. */
import type { SourceLocation } from '../errors/index.ts';
import type { FsEntry } from '../fs/index.ts';
import type { State, StepLimits, Ulimit } from '../llb/index.ts';
import type { Descriptor, Digest, ImageConfig, Platform, PullPolicy } from '../oci/index.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';

/** The place that the build context comes from. */
export type ContextSource =
  | { type: 'local' /** The session's local name. */; name: string }
  | { type: 'upload' /** The id of a posted tar (or of a bare Dockerfile). */; id: string }
  | { type: 'remote' /** A git or http(s) URL. */; url: string }
  | { type: 'state' /** A tree that is handed to the frontend. */; state: State };

/**
 * The request to build a Dockerfile, without the parts that do not concern turning it into LLB (outputs, caches).
 * An example, in part:
 *
 *     { context: { type: 'local', name: 'context' }, buildArgs: {}, labels: {}, platforms: [], … }
 */
export interface DockerfileRequest {
  context: ContextSource;
  /** The path of the Dockerfile in the context (or in `dockerfileLocal`); default `Dockerfile`. */
  dockerfile?: string;
  /** The Dockerfile's text, when it does not come from the context. */
  dockerfileText?: string;
  /** The session's local that holds the Dockerfile; default: the context's own. */
  dockerfileLocal?: string;
  /** The tree that holds the Dockerfile, when such a tree is handed to the frontend. */
  dockerfileState?: State;
  /** The folder of the context's tree that is the context. It is not used with a client's folder. */
  contextSubdir?: string;
  /** Session's local name → the session that has the folder, when that is not the build's own. */
  localSessions?: Record<string, string>;
  target?: string;
  buildArgs: Record<string, string>;
  labels: Record<string, string>;
  /** The platforms to build for; empty: the host's. */
  platforms: Platform[];
  /** Makes the result a list by platform, even of one platform; default: when there are several. */
  multiPlatform?: boolean;
  noCache: boolean;
  /** Names of stages, lines of the Dockerfile, and texts of steps with `*` (`stepsToRun`). */
  noCacheFilter: string[];
  pull: PullPolicy;
  network: 'default' | 'host' | 'none';
  /** The network that an operator has named, for the steps that ask for no other one. */
  networkName?: string;
  extraHosts: { host: string; ip: string }[];
  /** The size of /dev/shm in bytes; 0: the default (64 MiB). */
  shmSize: number;
  ulimits: Ulimit[];
  /**
   * `--build-context NAME=VALUE`, with the values as written (`docker-image://…`, a URL, `local:<session name>`,
   * `oci-layout://…`).
   */
  namedContexts: Record<string, string>;
  /** Trees that are handed to the frontend. A named context `input:NAME` is one of them. */
  inputs?: Record<string, { state: State; config?: ImageConfig }>;
  hostname?: string;
  cgroupParent?: string;
  /** The limits of each step on the machine's resources, where its cgroups allow them. */
  limits?: StepLimits;
  /** The names of build args that were given without a value. They only tell whether an ARG takes them. */
  unsetArgs?: readonly string[];
  /**
   * Builds as docker's old builder does (`version=1`). It takes more than BuildKit: a base by its image ID, `RUN []`,
   * and `CMD []` for no command; and it has its own words for what it refuses. `.dockerignore` and the Dockerfile are
   * taken out of a context that is not a client's folder when the patterns in `.dockerignore` say so, because its
   * clients always send both. An image whose build changed only the config is dated by its making.
   */
  classic?: boolean;
  /** SOURCE_DATE_EPOCH, in seconds since the epoch. It is also the build arg of that name. */
  sourceDateEpoch?: number;
  /** Tells of each target which further trees are to be scanned with it (`BUILDKIT_SBOM_SCAN_CONTEXT` and `_STAGE`). */
  scanned?: boolean;
  /** Looks only at the checks: without a target all stages are converted, and `# check=error=true` does not throw. */
  check?: boolean;
  /** A question about the Dockerfile that is answered in the place of a build: `frontend.outline`, `frontend.targets` …. */
  subrequest?: string;
}

/** The config of an image, looked up without pulling its layers. */
export interface ResolvedImage {
  /** The normalized reference, pinned by digest; or the reference as given, when it is only known locally. */
  ref: string;
  digest: Digest;
  config: ImageConfig;
  /** The manifest for the platform. */
  manifest?: Descriptor;
}

interface ImageResolver {
  resolveImage(
    ref: string,
    options: {
      platform: Platform;
      pull: PullPolicy;
      /** The line that progress shows. */
      logName: string;
      location?: SourceLocation;
      /** For `oci-layout://`: the session's name of the layout's store. */
      ociLayoutStore?: string;
    },
  ): Promise<ResolvedImage>;
}

/** A solved tree that a frontend reads. Paths are absolute; symlinks are followed inside the tree. */
export interface FrontendTree {
  /**
   * The bytes of a file; undefined when there is none. Throws `invalid` for a folder, and for more than `maxBytes`
   * (default 16 MiB).
   */
  readFile(path: string, maxBytes?: number): Promise<Buffer | undefined>;
  stat(path: string): Promise<FsEntry | undefined>;
  /** The entries of a folder. Throws `not-found`. */
  readdir(path: string): Promise<FsEntry[]>;
  /** The time of the newest regular file in the tree, in s since 1970; undefined when it has none. */
  newest(): Promise<number | undefined>;
}

/** The services that the engine gives to a frontend. */
export interface FrontendHost extends ImageResolver {
  /** Solves a definition and opens its output for reading. Its vertices show in the build's progress. */
  open(definition: Definition): Promise<FrontendTree>;
  /**
   * The time of the one source in a definition, in s since 1970; `files` when only the source's files can tell it;
   * undefined when the source has no time of its own.
   */
  sourceTime(definition: Definition): Promise<number | 'files' | undefined>;
  /** Hears of a client's folder that a request names, and that is read only if something needs its files. */
  offered?(folder: string): void;
  /** Hears each finding of the build checks, also of a Dockerfile that then fails. */
  warn?(warning: LintWarning): void;
  /**
   * The name under which the store keeps the image of an ID (whole, or its beginning); undefined for any other text.
   */
  storedName?(id: string): Promise<string | undefined>;
  /** Hands the build over to a frontend image. Undefined: the calling frontend goes on itself. */
  forward?(syntax: Syntax): Promise<FrontendResult> | undefined;
}

/**
 * The value of a Dockerfile's `# syntax=` line. `image` is the frontend's image, without the arguments that `cmdline`
 * may have behind it.
 */
interface Syntax {
  image: string;
  cmdline: string;
  location: SourceLocation;
}

/** One finding of a build check. Names, texts and URLs are Dockerfile's official ones. */
export interface LintWarning {
  rule: string;
  description: string;
  message: string;
  url: string;
  location: SourceLocation;
}

/** The LLB that was made of a Dockerfile: one target for each platform. */
export interface FrontendResult {
  targets: FrontendTarget[];
  warnings: LintWarning[];
  /** The Dockerfile that was converted; missing in a result that another frontend gave. */
  dockerfile?: {
    text: string;
    filename: string;
    /** The line of a FROM → the number of ONBUILD triggers of its base. */
    triggers?: ReadonlyMap<number, number>;
  };
}

/** The LLB and the image config for one platform. */
export interface FrontendTarget {
  /**
   * The platform as it was asked for, `linux/amd64`. It names the platform's folder, and its part of the result's
   * metadata.
   */
  id: string;
  platform: Platform;
  definition: Definition;
  /**
   * The image config without `rootfs.diff_ids`, which the exporter fills in. Its `history` is complete, one entry for
   * each instruction.
   */
  config: ImageConfig;
  /** The target's SOURCE_DATE_EPOCH, in s since 1970. */
  epoch?: number;
  /** The reference of the base image, for annotations. The base's own history and layers are in `config` already. */
  baseRef?: string;
  /** What is scanned besides the target; missing when the request does not ask. */
  scan?: FrontendScan;
  /** The config of the base image: its entries about its own steps stay as they are. */
  baseConfig?: Pick<ImageConfig, 'history'>;
}

/** The trees that are to be looked through for packages with a target, by their names. */
export interface FrontendScan {
  extras: Record<string, Definition>;
  /** A stage among them, or the target, is built without cache. */
  ignoreCache: boolean;
}

/** Turns a Dockerfile into definitions. `dockerfileFrontend` (`frontend/dockerfile/frontend.ts`) is the only one. */
export type DockerfileFrontend = (
  request: DockerfileRequest,
  host: FrontendHost,
  signal: AbortSignal,
) => Promise<FrontendResult>;
