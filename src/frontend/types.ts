/** The door of a frontend: what it is asked, what it may ask of the engine, and what it gives back. */
import type { SourceLocation } from '../errors/index.ts';
import type { FsEntry } from '../fs/index.ts';
import type { State, StepLimits, Ulimit } from '../llb/index.ts';
import type { Descriptor, Digest, ImageConfig, Platform } from '../oci/index.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';

/** Where the build context comes from. */
export type ContextSource =
  | { type: 'local' /** Session's local name. */; name: string }
  | { type: 'upload' /** A posted tar (or a bare Dockerfile) by its id. */; id: string }
  | { type: 'remote' /** git or http(s) URL */; url: string }
  | { type: 'state' /** A tree that the frontend is handed. */; state: State };

/** A Dockerfile build as a client asks for it; what of it concerns turning the Dockerfile into LLB. */
export interface DockerfileRequest {
  context: ContextSource;
  /** Path of the Dockerfile in the context (or in `dockerfileLocal`), default `Dockerfile`. */
  dockerfile?: string;
  /** The Dockerfile's text, when it does not come from the context. */
  dockerfileText?: string;
  /** Session local that holds the Dockerfile; default: the context's own. */
  dockerfileLocal?: string;
  /** The tree that holds the Dockerfile, when it is handed to the frontend. */
  dockerfileState?: State;
  /** Folder of the context's tree that is the context; not for a client's folder. */
  contextSubdir?: string;
  /** Session's local name → the session whose folder it is, where that is not the build's own. */
  localSessions?: Record<string, string>;
  target?: string;
  buildArgs: Record<string, string>;
  labels: Record<string, string>;
  /** Empty: the host's. */
  platforms: Platform[];
  /** The result is a list by platform, be it only one; default: when there are several platforms. */
  multiPlatform?: boolean;
  noCache: boolean;
  noCacheFilter: string[];
  pull: boolean;
  network: 'default' | 'host' | 'none';
  extraHosts: { host: string; ip: string }[];
  /** Bytes; 0: the default (64 MiB). */
  shmSize: number;
  ulimits: Ulimit[];
  /** `--build-context NAME=VALUE`, values as written (`docker-image://…`, a URL, `local:<session name>`, `oci-layout://…`). */
  namedContexts: Record<string, string>;
  /** Trees handed to the frontend; a named context `input:NAME` is one of them. */
  inputs?: Record<string, { state: State; config?: ImageConfig }>;
  hostname?: string;
  cgroupParent?: string;
  /** What each step may use of the machine, where its cgroups allow. */
  limits?: StepLimits;
  /** Names of build args that were given without a value; they are only looked at for whether an ARG takes them. */
  unsetArgs?: readonly string[];
  /**
   * What docker's builder of old (`version=1`) takes that BuildKit does not: a base by its image ID, `RUN []`, `CMD []`
   * for no command; and its words for what it does not take. `.dockerignore` and the Dockerfile are taken out of a
   * context that is not a client's folder if the patterns of the one say so: its clients send both always. An image of
   * nothing but a changed config has the time of its making.
   */
  classic?: boolean;
  /** Seconds since the epoch; also the build arg SOURCE_DATE_EPOCH. */
  sourceDateEpoch?: number;
  /** Only the checks count: without a target all stages are converted, and `# check=error=true` does not throw. */
  check?: boolean;
}

/** An image's config, looked up without pulling its layers. */
export interface ResolvedImage {
  /** Normalized reference pinned by digest, or as given when it is only known locally. */
  ref: string;
  digest: Digest;
  config: ImageConfig;
  /** The platform-specific manifest. */
  manifest?: Descriptor;
}

interface ImageResolver {
  resolveImage(
    ref: string,
    options: {
      platform: Platform;
      pull: boolean;
      /** Progress line. */
      logName: string;
      location?: SourceLocation;
      /** For `oci-layout://`: the session's name of the layout store. */
      ociLayoutStore?: string;
    },
  ): Promise<ResolvedImage>;
}

/** A solved tree that a frontend looks into. Paths are absolute; symlinks are followed inside the tree. */
export interface FrontendTree {
  /** The file's bytes; undefined when there is none. Throws `invalid` on a folder and beyond `maxBytes` (default 16 MiB). */
  readFile(path: string, maxBytes?: number): Promise<Buffer | undefined>;
  stat(path: string): Promise<FsEntry | undefined>;
  /** Throws `not-found`. */
  readdir(path: string): Promise<FsEntry[]>;
  /** Time of the newest regular file in it, s since 1970; undefined when it has none. */
  newest(): Promise<number | undefined>;
}

/** What the engine does for a frontend. */
export interface FrontendHost extends ImageResolver {
  /** Solves a definition and opens its output for reading. Its vertices show in the build's progress. */
  open(definition: Definition): Promise<FrontendTree>;
  /**
   * When the one source in a definition was made, s since 1970; `files` when only its files can say that; undefined
   * when it has no time of its own.
   */
  sourceTime(definition: Definition): Promise<number | 'files' | undefined>;
  /** Is told each finding of the build checks, also of a Dockerfile that then fails. */
  warn?(warning: LintWarning): void;
  /** The name under which the store keeps the image of an ID (whole or its beginning); undefined for any other text. */
  storedName?(id: string): Promise<string | undefined>;
  /** Hands the build to the frontend image. Undefined: the frontend at hand is to go on itself. */
  forward?(syntax: Syntax): Promise<FrontendResult> | undefined;
}

/** What a Dockerfile's `# syntax=` line names: the frontend's image, without the arguments that `cmdline` has besides. */
interface Syntax {
  image: string;
  cmdline: string;
  location: SourceLocation;
}

/** One finding of a build check. Names, texts and urls are Dockerfile's official ones. */
export interface LintWarning {
  rule: string;
  description: string;
  message: string;
  url: string;
  location: SourceLocation;
}

/** What a Dockerfile became: one target per platform. */
export interface FrontendResult {
  targets: FrontendTarget[];
  warnings: LintWarning[];
  /** The Dockerfile that was converted; not of a result that another frontend gave. */
  dockerfile?: {
    text: string;
    filename: string;
    /** Line of a FROM → how many ONBUILD triggers its base has. */
    triggers?: ReadonlyMap<number, number>;
  };
}

export interface FrontendTarget {
  /** The platform as it was asked for, `linux/amd64`: names its folder, and its part of a result's metadata. */
  id: string;
  platform: Platform;
  definition: Definition;
  /** The image config without `rootfs.diff_ids`, which the exporter fills in; `history` is complete, one entry per instruction. */
  config: ImageConfig;
  /** Its SOURCE_DATE_EPOCH, s since 1970. */
  epoch?: number;
  /** Base image's own config history and layers are in `config` already; its reference, for annotations. */
  baseRef?: string;
  /** The config of that image: what it says of its own steps stays as it is. */
  baseConfig?: Pick<ImageConfig, 'history'>;
}

/** What turns a Dockerfile into definitions: `dockerfileFrontend` of `frontend/dockerfile/frontend.ts` is the one there is. */
export type DockerfileFrontend = (
  request: DockerfileRequest,
  host: FrontendHost,
  signal: AbortSignal,
) => Promise<FrontendResult>;
