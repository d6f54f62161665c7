/** The interface of layer, which turns a layer's tar into its folder and back. */
import type { Descriptor, Digest } from '../oci/index.ts';

/** The compression of a layer's blob. */
export interface Compression {
  /** `estargz` is a gzip and `zstdchunked` a zstd whose files can be read one by one. */
  type: 'uncompressed' | 'gzip' | 'zstd' | 'estargz' | 'zstdchunked';
  /** gzip and estargz 0–9 (default 4), zstd 1–22 (default 2), zstdchunked 1–22 (default 3). */
  level?: number;
  /**
   * Set for a gzip or zstd blob that an early release has made: it set up the compressors in another way, and layers of
   * its images must give the same blobs again.
   */
  early?: true;
}

/** A layer as a blob, with the facts that manifests and configs need. */
export interface LayerBlob {
  /** A descriptor with an OCI layer media type. */
  descriptor: Descriptor;
  /** Of an eStargz, the digest of its decompressed bytes, which are the layer's tar and the table of contents. */
  diffId: Digest;
  /** Bytes of the uncompressed tar. */
  size: number;
}

/** Whether the files of a blob of this compression can be read one by one. */
export function isChunked(compression: Compression | undefined): boolean {
  return compression?.type === 'estargz' || compression?.type === 'zstdchunked';
}
