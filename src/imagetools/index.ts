/** Images in registries, without a store: what they are, and new ones made of them. */
export { combine, type IndexAnnotation } from './combine.ts';
export { copyParts } from './copy.ts';
export type { ImageFacts, PlatformFacts } from './facts.ts';
export { readSources, repositoryOf, sourceName } from './read.ts';
