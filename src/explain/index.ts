/** Why steps were not cached: what is kept of their runs, and its words. */
export { Explainer } from './explainer.ts';
export type { Report } from './reports.ts';
export { readTimes } from './times.ts';
export { explanationStart, isBare } from './words.ts';
