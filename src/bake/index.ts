/** Bake files: what they define, and what is built of it. Pure. */
export { attestText, entryText, sshText } from './entries.ts';
export { type BakeFile, type BakeSurroundings, defaultFiles, readDefinitions } from './files.ts';
export { dotEnv } from './interpolate.ts';
export { readOverrides } from './overrides.ts';
export { here, plainNamedContext } from './paths.ts';
export { planOf } from './plan.ts';
export { printed } from './print.ts';
export type { Definitions, PlannedTarget } from './types.ts';
