/** The cache of a fleet: each key an object of its own, in a bucket, a folder or a registry. */
export type { SharedCache } from './shared-cache.ts';
export { parseSharedCache, type SharedCacheSpec } from './spec.ts';
