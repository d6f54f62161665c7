/** Devices of this machine that steps can have, as CDI files describe them, and who may have them. */
export { grantDevices } from './grant.ts';
export { type CdiOptions, DeviceRegistry } from './registry.ts';
export type { CdiMount, ContainerEdits, DeviceNode } from './types.ts';
export { noEdits } from './types.ts';
