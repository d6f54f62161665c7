/**
 * The door of words: Go's spellings, once each. What is imported by one door is one chunk of the command's bundle; by
 * a door each they were that many files to load at the start of every build.
 */
export { parseBool } from './bool.ts';
export { ramInBytes } from './bytes.ts';
export { readCompression } from './compression.ts';
export { csvFields } from './csv.ts';
export { daysAndWeeks, durationMs, durationNs } from './duration.ts';
export { epochSeconds } from './epoch.ts';
export { type GitRemote, gitIdentifier, gitRemote, parseGitRemote } from './git-remote.ts';
export { hostOfAddress, isHttpUrl, isRemoteUrl } from './remote-url.ts';
export { hasWildcard, splitWildcards } from './wildcards.ts';
