/**
 * The door of words: Go's spellings, once each. All come by it, because what is imported from one file is one chunk of
 * the command's bundle: by seven doors they were six files more to load for each build.
 */
export { parseBool } from './bool.ts';
export { ramInBytes } from './bytes.ts';
export { readCompression } from './compression.ts';
export { csvFields } from './csv.ts';
export { daysAndWeeks, durationMs, durationNs } from './duration.ts';
export { epochSeconds } from './epoch.ts';
export { hostOfAddress, isHttpUrl, isRemoteUrl } from './remote-url.ts';
