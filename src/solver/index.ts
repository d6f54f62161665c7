/** From a graph to results: jobs, vertices at work, and what an op is and is told. */
export { contentDigest } from './content.ts';
export { failedVertex } from './failed-vertex.ts';
export type { FleetCache, FleetRecord, FleetResult } from './fleet-cache.ts';
export type { ForeignCache, ForeignInput, ForeignLeaf, ForeignMount } from './foreign-cache.ts';
export { Job } from './job.ts';
export { keptName } from './kept-name.ts';
export { adoptLeftovers, dropLeftovers, leave, leftoversOf } from './leftovers.ts';
export type { BuildOrigin, Miss, MissBuild, MissTeller } from './miss.ts';
export { Pins } from './pins.ts';
export { refContext } from './ref-context.ts';
export { recordLease } from './results.ts';
export { Solver } from './solver.ts';
export type { TracedVertex } from './trace.ts';
export type {
  CacheDep,
  CacheMap,
  ImageLayer,
  OpContext,
  OpFactory,
  OpMaker,
  OtherKeys,
  SourceInUse,
  UsedSource,
  Vertex,
  WorkContext,
} from './types.ts';
