/** Go's spellings, each read in one place: truth values, lists, times, sizes, URLs, addresses. Pure. */

export { parseBool } from './bool.ts';
export { BoundedLines, boundedLines } from './bounded-lines.ts';
export { ramInBytes, ramText } from './bytes.ts';
export { compressionTypes, readCompression } from './compression.ts';
export { csvFields, csvLine } from './csv.ts';
export { daysAndWeeks, durationMs, durationNs } from './duration.ts';
export { withoutEnd } from './ends.ts';
export { epochSeconds } from './epoch.ts';
export { boolFilter, type Filters, labelsMatch, readTime } from './filters.ts';
export { type GitRemote, gitIdentifier, gitRemote, parseGitRemote } from './git-remote.ts';
export { inert, inertLine } from './inert.ts';
export { ipFamily } from './ip.ts';
export { hostOfAddress, isHttpUrl, isRemoteUrl } from './remote-url.ts';
export { sortedByName } from './sorted.ts';
export { hasWildcard, splitWildcards } from './wildcards.ts';
