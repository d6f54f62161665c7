/** Foreign caches: read and written in a registry, a client's folder or an image's config. */
export { type ExportWant, ignoresError, parseExport } from './attrs.ts';
export { clientCaches } from './client.ts';
export { exportCache, exportTitle, inlineCache, type TracedTree } from './export.ts';
export { type CacheRegistry, importCaches } from './import.ts';
export { cacheSpec, inlineByArg } from './spec-text.ts';
export type { CacheSpec } from './types.ts';
