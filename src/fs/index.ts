/** Reads and changes file trees without mounting them. A view is read only; actions make a new tree. */
export type { FileActionSpec, OwnerId, OwnerSpec } from './actions.ts';
export { BlockHash, hashSmall } from './block-hash.ts';
export { bringFiles } from './bring.ts';
export type { FileChange, TreeChanges } from './compare-lists.ts';
export { blockSize } from './hash-blocks.ts';
export { IgnoreMatcher, type MatchState, readIgnore } from './ignore.ts';
export { digestXattr, lazyLayers, lazyLayersOf } from './lazy-folder.ts';
export { addLinked, hasLinked, readLinked } from './linked-files.ts';
export { dropLists } from './list-db.ts';
export { lookLive, withLiveView } from './live-view.ts';
export {
  checkReplaceable,
  createFile,
  finishFile,
  finishPath,
  makeNode,
  partOf,
  stopper,
  writeParts,
} from './make.ts';
export type { Mount } from './mount.ts';
export { openView } from './open.ts';
export { outputError } from './output-error.ts';
export { folderOption, foldersIn } from './overlay-options.ts';
export { baseName, cleanPath, dirName, splitPath } from './paths.ts';
export { readFileIn, statFollow } from './read.ts';
export { atEntry, inFolder, namesOfHost, openEntry } from './real.ts';
export { resolvePath } from './resolve.ts';
export { missing, walkSelected } from './select.ts';
export { readContents, type SentContents, writeContents } from './sent-contents.ts';
export { entryOf, fileType, hostXattrs, isOpaque, isOwnXattr, isWhiteout, lstatHost } from './stat.ts';
export {
  type ContentSelector,
  type FileType,
  type FsEntry,
  type FsView,
  specOfMounts,
  type ViewSpec,
} from './view.ts';
