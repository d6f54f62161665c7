/// <reference types="node" preserve="true" />
/** Drydock as a library: builds of Dockerfiles and of LLB states, in process. */
export { type Engine, type EngineOptions, openEngine } from './engine/engine.ts';
export type { BuildResult, OutputSpec } from './engine/types.ts';
export { DrydockError, type ErrorCode, type Hop } from './errors/error.ts';
export type { OutputSink } from './exporter/types.ts';
export * from './llb/llb.ts';
export type { ProgressSink } from './progress/events.ts';
export {
  build,
  buildState,
  type CommonOptions,
  type DockerfileOptions,
  type StateOptions,
} from './sdk/build.ts';
