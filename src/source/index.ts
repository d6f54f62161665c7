/** The sources of LLB, a maker for each: images, layouts, git, http, folders, uploads. */
export type { SourceDeps } from './deps.ts';
export { type GitObjects, gitObjects, pinnedRef, verifiedRef, withCommit } from './git-commit.ts';
export { type GitRef, gitOptions } from './git-ref.ts';
export { type HttpChecksum, httpMeta } from './http.ts';
export { download } from './http-fetch.ts';
export { ImageLayout } from './image/layout.ts';
export { resolveImageConfig } from './image.ts';
export { sourceOp } from './source.ts';
