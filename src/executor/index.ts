/** Runs one process in a container. `createExecutor` makes an executor, and an `ExecSpec` says what it runs. */
export { createExecutor } from './executor.ts';
export { sampleMachine } from './machine-usage.ts';
export { type Check, probeExecutor } from './probe.ts';
export { type Remap, rangesOf } from './remap.ts';
export { type Shortage, shortageHint, shortageText } from './shortage.ts';
export type { ExecControl, ExecEnd, ExecMount, ExecSpec, Executor } from './types.ts';
