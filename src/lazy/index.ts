/** Layers whose files' contents are fetched when they are read: a filesystem in this program serves them. */

export { LayerTableWriter, type LazyBlob, type LazyChunk } from './layer-table.ts';
export { LazyFiles } from './lazy-files.ts';
export { holeValue, holeXattr, lazyFolder } from './place.ts';
