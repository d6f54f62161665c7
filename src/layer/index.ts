/** Layers: packs them from snapshots, unpacks them into snapshots, and changes their compression. */
export { ensureBlob, labelChain, packedVariants, packSnapshot, rememberedBlob } from './blobs.ts';
export { convertBlob } from './convert.ts';
export { copyUpFile } from './copy-up.ts';
export { diffViews, type TreeChange } from './diff.ts';
export { moveLayer } from './move-layer.ts';
export { isMovable, ownChanges } from './own-changes.ts';
export type { Compression, LayerBlob } from './types.ts';
export { unpackLayer } from './unpack.ts';
