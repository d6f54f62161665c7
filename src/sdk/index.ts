/** The library: `build()` and `buildState()`. */
export { build, buildState, type CommonOptions, type DockerfileOptions, type StateOptions } from './build.ts';
