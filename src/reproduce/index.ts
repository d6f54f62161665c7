/** Says what differs between two results of the same build. */
export type { Difference } from './layers.ts';
export { compareLayouts, type PartDifference } from './layouts.ts';
