/** The door of layer: from a layer's tar to its folder and back. */
import type { Descriptor, Digest } from '../oci/index.ts';

export interface Compression {
  type: 'uncompressed' | 'gzip' | 'zstd';
  /** gzip 0–9 (default 6), zstd 1–22 (default 3). */
  level?: number;
}

/** A layer as a blob: what a manifest and a config say of it. */
export interface LayerBlob {
  /** OCI layer media types. */
  descriptor: Descriptor;
  diffId: Digest;
  /** Bytes of the uncompressed tar. */
  size: number;
}
