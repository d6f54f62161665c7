/** The parts of a chunked layer: what its table of contents knows of each entry, and of each part of a file. */
import type { TarEntry } from '../../tar/index.ts';

/** A part of a file's content that is compressed alone. */
export interface Chunk {
  /** Where it begins in the file, in bytes. */
  offset: number;
  size: number;
  /** The hexadecimal sha256 of its bytes. */
  sha256: string;
  /** Where its compressed bytes begin in the blob. */
  at: number;
}

/** An entry of the archive, in the archive's order. */
export interface ChunkedEntry {
  entry: TarEntry;
  /** Of a regular file that is not empty, in order. */
  chunks: Chunk[];
  /** The hexadecimal sha256 of a regular file's content. */
  sha256?: string;
  /** Where the compressed bytes of its content end in the blob. */
  end: number;
}

/** The end of a chunked blob: bytes after its last chunk, and what a manifest must say of it. */
export interface ChunkedEnd {
  bytes: Buffer;
  /** What decompressing these bytes adds to the archive; undefined: nothing. */
  plain?: Buffer;
  annotations: Record<string, string>;
}

/** The archive's own spelling of an entry's path and of its link's target. */
export function spelled({ path, rawPath, link, rawLink }: TarEntry): { path: string; link: string } {
  return { path: rawPath ?? path, link: rawLink ?? link ?? '' };
}
