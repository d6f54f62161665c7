/** Reads and writes tar archives as streams. */
export {
  decompress,
  decompressFile,
  detectBytes,
  detectCompression,
  type StreamCompression,
} from './decompress.ts';
export { nameFault, xattrFault } from './limits.ts';
export { cleanTarPath, TarParser } from './parser.ts';
export { sparseMap } from './sparse.ts';
export type { FileType, TarEntry, TarHandler } from './types.ts';
export { endOfArchive, header, padding, type TarHeader } from './writer.ts';
