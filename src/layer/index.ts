/** Layers: packs them from snapshots, unpacks them into snapshots, and changes their compression. */
export {
  ensureBlob,
  keepsTar,
  labelChain,
  packChanges,
  packedVariants,
  packSnapshot,
  rememberedBlob,
} from './blobs.ts';
export { fetchToc, hasToc, type PackedToc } from './chunked/toc-place.ts';
export { convertBlob } from './convert.ts';
export { copyUpFile } from './copy-up.ts';
export { diffViews, type TreeChange } from './diff.ts';
export type { FileSums, ListedFile } from './file-tree.ts';
export { listedFolder, listLayers } from './layer-files.ts';
export { makeLazyLayer } from './lazy-layer.ts';
export { compressionOf } from './media-types.ts';
export { moveLayer } from './move-layer.ts';
export { isMovable, ownChanges } from './own-changes.ts';
export { type Compression, isChunked, type LayerBlob } from './types.ts';
export { unpackLayer, unpackOnto } from './unpack.ts';
