/** The names that BuildKit's caches have for what Drydock builds. */
export { buildkitKeys } from './keys.ts';
