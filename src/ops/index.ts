/** The ops of LLB, a maker for each. The engine has the table of them. */
export { buildOp } from './build.ts';
export type { OpDeps } from './deps.ts';
export { diffOp } from './diff.ts';
export { cacheMountOwner, emptyCacheMounts } from './exec/cache-mount.ts';
export { checkRuns } from './exec/emulated.ts';
export { modesOf } from './exec/modes.ts';
export { cacheId, PreparedMounts } from './exec/mounts.ts';
export { execSpec, secretEnvironment } from './exec/spec.ts';
export { StepTime } from './exec/step-time.ts';
export { execOp } from './exec.ts';
export { fileOp } from './file.ts';
export { planFileOp } from './file-plan.ts';
export { limitedOps } from './limited.ts';
export { mergeOp } from './merge.ts';
export { passthroughOp } from './passthrough.ts';
export { scanOp } from './scan.ts';
