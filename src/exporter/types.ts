/** The door of exporters: they turn solved platforms into an image, an archive or files. */
import type { Compression } from '../layer/index.ts';
import type { Descriptor, Digest, HistoryEntry, ImageConfig, Platform } from '../oci/index.ts';
import type { VertexProgress } from '../progress/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { ClientOutput, Session } from '../session/index.ts';
import type { Ref, Store } from '../store/index.ts';

/** A solved image ready for export: one per platform. */
export interface PlatformResult {
  /** What whoever made it calls the platform; in the platform's own words when undefined. */
  id?: string;
  platform: Platform;
  /** undefined: an empty filesystem */
  ref: Ref | undefined;
  config: ImageConfig;
  /** How the history of the image that it builds on goes; undefined: none of it is another image's. */
  baseHistory?: readonly HistoryEntry[];
}

/** The time of an image's making: the one that the store's equal image has, or always a new one (without cache). */
export type MadeNow = 'kept' | 'anew';

export interface ExportRequest {
  results: PlatformResult[];
  attrs: Record<string, string>;
  /** Normalized image references to name. */
  names: string[];
  sourceDateEpoch?: number;
  /** What a frontend annotates the image with, named as in `attrs`, which win. */
  annotations?: Readonly<Record<string, string>>;
  /** Make an index, also of one platform. */
  index?: boolean;
  /** An image of nothing but a changed config is of the time of its making, as docker's builder of old has it. */
  madeNow?: MadeNow;
  /** Make docker's media types where the output does not say which: how BuildKit did it before 0.31. */
  dockerTypes?: boolean;
  /**
   * How a cache that is exported as well will have the layers packed. An image that may have them in any way then has
   * them so too: they are packed once, and a build that finds them in that cache makes the very same image.
   */
  cacheCompression?: Compression;
  /** The cache to be kept inside the config of the image at a place, for layers with these diff IDs; undefined: none. */
  inlineCache?(result: number, diffIds: readonly Digest[]): Promise<Buffer | undefined>;
}

export interface ExportContext {
  store: Store;
  registry: RegistryClient;
  /** A client for the registry of a reference that is to be trusted whatever it shows: `registry.insecure`. */
  trusting(ref: string): RegistryClient;
  session: Session;
  /** Progress of the `exporting to …` vertex. */
  progress: VertexProgress;
  signal: AbortSignal;
  lease: string;
  sink?: OutputSink;
  /** An image that loses its last name to the new one is not kept, as with buildkitd; else it is, as with dockerd. */
  forgetsReplaced?: boolean;
  /** The layers of images that were built on, by chain ID, as those images name them; found out when first asked for. */
  bases?(): Promise<Bases>;
}

export type Bases = ReadonlyMap<Digest, { blob: Descriptor; from: string | undefined }>;

/**
 * Where an output goes: one stream (a file or stdout), a folder on this host, or a client elsewhere, which takes either
 * over its session (`ClientSession.output` gives that one). `tar` is told the exporter's response so far.
 */
export type OutputSink =
  | { tar(metadata?: Readonly<Record<string, string>>): Promise<NodeJS.WritableStream> }
  | { files: string }
  | ClientOutput;

export interface ExportResponse {
  /** `containerimage.digest`, `containerimage.config.digest`, `containerimage.descriptor`, `image.name` … */
  metadata: Record<string, unknown>;
  imageId?: Digest;
  descriptor?: Descriptor;
  /** The image's manifests, configs and index. */
  documents?: readonly Buffer[];
  size?: number;
  /** What is in the store now. */
  stored?: StoredOutput;
}

/** An image that an output has put into the store. */
export interface StoredOutput {
  /** Config digest, of several platforms the first one's. */
  id: Digest;
  /** Normalized references. */
  names: readonly string[];
  labels: Readonly<Record<string, string>>;
}

export interface Exporter {
  /** `exporting to image`, as progress shows it. */
  readonly title: string;
  export(request: ExportRequest, ctx: ExportContext): Promise<ExportResponse>;
}
