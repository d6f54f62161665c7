/** Documents of the OCI image and distribution specifications, as TypeScript types. */

/** `sha256:<64 hex digits>`. */
export type Digest = `sha256:${string}`;

/** https://github.com/opencontainers/image-spec/blob/main/descriptor.md */
export interface Descriptor {
  mediaType: string;
  digest: Digest;
  /** Bytes. */
  size: number;
  urls?: string[];
  annotations?: Record<string, string>;
  platform?: Platform;
  artifactType?: string;
  /** The bytes themselves, in base64, of small documents. */
  data?: string;
}

/** A system and an architecture that images are made for. */
export interface Platform {
  architecture: string;
  os: string;
  variant?: string;
  'os.version'?: string;
  'os.features'?: string[];
}

export interface Manifest {
  schemaVersion: 2;
  mediaType?: string;
  artifactType?: string;
  config: Descriptor;
  layers: Descriptor[];
  annotations?: Record<string, string>;
  subject?: Descriptor;
}

export interface Index {
  schemaVersion: 2;
  mediaType?: string;
  manifests: Descriptor[];
  annotations?: Record<string, string>;
}

export interface HealthConfig {
  Test?: string[];
  /** Nanoseconds, as the other durations here. */
  Interval?: number;
  Timeout?: number;
  StartPeriod?: number;
  StartInterval?: number;
  Retries?: number;
}

/** The part of an image's config that containers are started with. */
export interface ContainerConfig {
  User?: string;
  ExposedPorts?: Record<string, Record<string, never>>;
  Env?: string[];
  Entrypoint?: string[] | null;
  Cmd?: string[] | null;
  Volumes?: Record<string, Record<string, never>>;
  WorkingDir?: string;
  Labels?: Record<string, string>;
  StopSignal?: string;
  ArgsEscaped?: boolean;
  Healthcheck?: HealthConfig;
  OnBuild?: string[] | null;
  Shell?: string[];
  StopTimeout?: number;
}

/** One step in the history of an image. */
export interface HistoryEntry {
  created?: string;
  created_by?: string;
  author?: string;
  comment?: string;
  empty_layer?: boolean;
}

/** https://github.com/opencontainers/image-spec/blob/main/config.md with Docker's additions. */
export interface ImageConfig {
  created?: string;
  author?: string;
  architecture: string;
  os: string;
  variant?: string;
  'os.version'?: string;
  'os.features'?: string[];
  config?: ContainerConfig;
  rootfs: { type: 'layers'; diff_ids: Digest[] };
  history?: HistoryEntry[];
  /** BuildKit's inline cache, base64. */
  'moby.buildkit.cache.v0'?: string;
}

/**
 * The largest number of layers of an image: as many as overlayfs stacks (OVL_MAX_STACK). No image in use comes near.
 */
export const maxLayers = 500;

export const mediaTypes = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerLayerZstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
} as const;

/** Types of layers that must not be redistributed → the type of the same bytes as an ordinary layer. */
const distributable: Readonly<Record<string, string>> = {
  'application/vnd.docker.image.rootfs.foreign.diff.tar': mediaTypes.dockerLayer,
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip': mediaTypes.dockerLayerGzip,
  'application/vnd.oci.image.layer.nondistributable.v1.tar': mediaTypes.ociLayer,
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip': mediaTypes.ociLayerGzip,
  'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd': mediaTypes.ociLayerZstd,
};

/** Whether a layer is fetched from its own URLs and is not pushed (a "foreign" or "non-distributable" layer). */
export function isForeignLayer({ mediaType }: Pick<Descriptor, 'mediaType'>): boolean {
  return Object.hasOwn(distributable, mediaType);
}

/** Turns a foreign layer into an ordinary one; other layers stay as they are. */
export function asDistributable(layer: Descriptor): Descriptor {
  const mediaType = Object.hasOwn(distributable, layer.mediaType)
    ? distributable[layer.mediaType]
    : undefined;
  if (mediaType === undefined) return layer;
  const { urls: _, ...rest } = layer;
  return { ...rest, mediaType };
}

export function isIndexType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerIndex;
}
export function isManifestType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociManifest || mediaType === mediaTypes.dockerManifest;
}
