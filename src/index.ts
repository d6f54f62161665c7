/// <reference types="node" preserve="true" />
/** Drydock as a library: builds of Dockerfiles and of LLB states, in process. */
export {
  type BuildResult,
  type Engine,
  type EngineOptions,
  type OutputSpec,
  openEngine,
} from './engine/index.ts';
export { DrydockError, type ErrorCode, type Hop } from './errors/index.ts';
export type { OutputSink } from './exporter/index.ts';
export * from './llb/llb.ts';
export type { ProgressSink } from './progress/index.ts';
export {
  build,
  buildState,
  type CommonOptions,
  type DockerfileOptions,
  type StateOptions,
} from './sdk/index.ts';
