/** The contract of exporters: they turn solved platforms into an image, an archive or files. */
import type { Attestation } from '../attest/index.ts';
import type { Compression } from '../layer/index.ts';
import type { Descriptor, Digest, HistoryEntry, ImageConfig, Platform } from '../oci/index.ts';
import type { VertexProgress } from '../progress/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { ClientOutput, Session } from '../session/index.ts';
import type { Ref, Store } from '../store/index.ts';

/** The solved tree and the config of one platform, ready for export. */
export interface PlatformResult {
  /** The name that the frontend gave to the platform; undefined: the platform's own. */
  id?: string;
  platform: Platform;
  /** The tree; undefined: an empty filesystem. */
  ref: Ref | undefined;
  config: ImageConfig;
  /** The history of the image that it builds on; undefined: no part of its history is another image's. */
  baseHistory?: readonly HistoryEntry[];
  /** The attestations of the result; default: none. */
  attestations?: readonly Attestation[];
}

/**
 * The date of an image whose build changed only the config: `kept`, the date of the equal image in the store if there
 * is one; `anew`, always the present (for builds without cache).
 */
export type MadeNow = 'kept' | 'anew';

/** The request to one exporter: the results of all platforms, and the form that they are to have. */
export interface ExportRequest {
  results: PlatformResult[];
  attrs: Record<string, string>;
  /** The normalized references that the image gets. */
  names: string[];
  sourceDateEpoch?: number;
  /** The frontend's annotations for the image, named as in `attrs`; those in `attrs` win. */
  annotations?: Readonly<Record<string, string>>;
  /** Makes an index, even for one platform. */
  index?: boolean;
  /** Dates an image whose build changed only the config by its making, as docker's old builder does. */
  madeNow?: MadeNow;
  /** Makes docker's media types where the output does not choose, as BuildKit did before 0.31. */
  dockerTypes?: boolean;
  /**
   * The compression of a cache that is exported with the image. An image that may have its layers in any compression
   * then takes this one: the layers are packed once, and a build that finds them in that cache makes the very same
   * image.
   */
  cacheCompression?: Compression;
  /**
   * The cache that is kept inside the config of the image of a result, whose layers have these diff IDs; undefined:
   * none.
   */
  inlineCache?(result: number, diffIds: readonly Digest[]): Promise<Buffer | undefined>;
}

/** The build that an exporter works for, and the parts of the engine that it uses. */
export interface ExportContext {
  store: Store;
  registry: RegistryClient;
  /** A client for the registry of a reference that trusts the registry whatever it shows: `registry.insecure`. */
  trusting(ref: string): RegistryClient;
  session: Session;
  /** The secrets that outputs sign with, which no step can read; undefined: those of the session. */
  signingSecret?(id: string): Promise<Buffer | undefined>;
  /** The progress of the `exporting to …` vertex. */
  progress: VertexProgress;
  signal: AbortSignal;
  lease: string;
  sink?: OutputSink;
  /**
   * Removes an image that loses its last name to the new one, as with buildkitd; otherwise it stays, as with dockerd.
   */
  forgetsReplaced?: boolean;
  /**
   * The layers of the images that the build was built on, by chain ID, as those images name them. They are found out at
   * the first call.
   */
  bases?(): Promise<Bases>;
}

/** Layers of base images: a chain ID → the blob, and the reference of an image that has it. */
export type Bases = ReadonlyMap<Digest, { blob: Descriptor; from: string | undefined }>;

/**
 * The place that an output goes to: one stream (a file or stdout), a folder on this host, or a client elsewhere, which
 * takes either over its session (`ClientSession.output` makes that one). `tar` gets the exporter's response so far.
 */
export type OutputSink =
  | { tar(metadata?: Readonly<Record<string, string>>): Promise<NodeJS.WritableStream> }
  | { files: string }
  | ClientOutput;

/** The answer of an exporter. */
export interface ExportResponse {
  /** `containerimage.digest`, `containerimage.config.digest`, `containerimage.descriptor`, `image.name` … */
  metadata: Record<string, unknown>;
  imageId?: Digest;
  descriptor?: Descriptor;
  /** The image's manifests, configs and index. */
  documents?: readonly Buffer[];
  size?: number;
  /** The image that is in the store now. */
  stored?: StoredOutput;
}

/** An image that an output has put into the store. */
export interface StoredOutput {
  /** The digest of its config; of several platforms, the first one's. */
  id: Digest;
  /** Its normalized references. */
  names: readonly string[];
  labels: Readonly<Record<string, string>>;
}

/** Packs the layer of a committed snapshot, for an output that comes later. */
export type LayerPacker = (key: string, ctx: { lease: string; signal: AbortSignal }) => Promise<void>;

/**
 * Makes one kind of output. It is made by `createExporter`, which checks its attributes before the build begins, and is
 * called when the build's results are there.
 */
export interface Exporter {
  /** The name of the vertex that progress shows: `exporting to image`. */
  readonly title: string;
  /**
   * A packer of the layers of new steps, in the form in which this output will most likely want them; undefined when it
   * wants none, or that hangs on the result. `cache`: how a cache that is exported as well has them packed.
   */
  packer?(store: Store, cache?: Compression): LayerPacker | undefined;
  export(request: ExportRequest, ctx: ExportContext): Promise<ExportResponse>;
}
