/** The trees that vertices pass to each other, lazy where possible, and the snapshots that file actions make. */
export { createRefs } from './refs.ts';
export { chainOf, restack } from './restack.ts';
export { copyAll, isEmpty, parentOf, writeSnapshot } from './snapshot.ts';
export type { Refs } from './types.ts';
