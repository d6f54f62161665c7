/** Image types, digests, references, platforms and credentials. Pure. */
export { algorithmOf, type Checksum, type ChecksumAlgorithm, parseChecksum } from './checksum.ts';
export {
  chunkAnnotations,
  estargzAnnotations,
  zstdChunkedAnnotations,
  zstdChunkedOtherNames,
} from './chunk-annotations.ts';
export {
  type CredentialSource,
  hasCredentials,
  type RegistryCredentials,
  type TokenRequest,
  type TokenSource,
} from './credentials.ts';
export { chainId, chainIds, digestOf, hex, isDigest, parseDigest } from './digest.ts';
export { documentExcess, maxBytes } from './document.ts';
export { jsonExcess } from './json-size.ts';
export { fullNameAnnotation, layoutMark, refNameAnnotation } from './layout.ts';
export { typed } from './media-families.ts';
export {
  defaultEnv,
  defaultPath,
  distinctPlatforms,
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  parsePlatform,
  platformMatches,
  platformScore,
} from './platform.ts';
export { type PullPolicy, pullPolicyNamed, pullPolicyOf, resolveModeOf } from './pull-policy.ts';
export { familiarName, formatReference, normalizeName, parseReference, type Reference } from './reference.ts';
export {
  asDistributable,
  type ContainerConfig,
  type Descriptor,
  type Digest,
  type HealthConfig,
  type HistoryEntry,
  type ImageConfig,
  type Index,
  isForeignLayer,
  isIndexType,
  isManifestType,
  type Manifest,
  maxLayers,
  mediaTypes,
  type Platform,
} from './types.ts';
