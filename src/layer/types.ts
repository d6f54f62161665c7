/** The interface of layer, which turns a layer's tar into its folder and back. */
import type { Descriptor, Digest } from '../oci/index.ts';

/** The compression of a layer's blob. */
export interface Compression {
  type: 'uncompressed' | 'gzip' | 'zstd';
  /** gzip 0–9 (default 6), zstd 1–22 (default 3). */
  level?: number;
}

/** A layer as a blob, with the facts that manifests and configs need. */
export interface LayerBlob {
  /** A descriptor with an OCI layer media type. */
  descriptor: Descriptor;
  diffId: Digest;
  /** Bytes of the uncompressed tar. */
  size: number;
}
