/** Foreign caches: read and written in a registry, a client's folder or an image's config. */
export type { ExportWant } from './attrs.ts';
export { clientCaches, withLentKeys } from './client.ts';
export { clientBlobs } from './client-blobs.ts';
export type { TracedTree } from './export.ts';
export type { CacheRegistry } from './import.ts';
export type { BuildMounts } from './mounts/export.ts';
export type { CacheBlobs } from './read-cache.ts';
export { registryBlobs } from './registry-blobs.ts';
export { cacheSpec, inlineByArg } from './spec-text.ts';
export type { CacheSpec } from './types.ts';
