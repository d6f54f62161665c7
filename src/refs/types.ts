/** The door of refs: makes the Refs (store/ref.ts) that ops return. */
import type { ViewSpec } from '../fs/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import type { Ref, SerializedRef } from '../store/index.ts';

export interface Refs {
  /** The tree with nothing in it. */
  empty(): Ref;
  /**
   * Trees (two or more, none of them empty) stacked onto each other, lowest first, when first needed. Throws
   * `unsupported` when there are too many.
   */
  merge(parts: readonly Ref[]): Ref;
  /** A committed snapshot. */
  snapshot(key: string): Ref;
  /** A folder on this host seen through a filter; it cannot outlive the build. `snapshot()` copies it into the store. */
  folder(spec: Extract<ViewSpec, { kind: 'folder' }>): Ref;
  /**
   * Layers of a registry image (`source`: its reference), lowest first: fetched and unpacked when first needed. Without
   * a source their blobs must be in content by then.
   */
  image(
    source: string | undefined,
    layers: readonly {
      descriptor: Descriptor;
      diffId: Digest;
      /** When it was made, ms since the epoch, if it is to be remembered: not of images that are built on. */
      madeAt?: number;
      /** What made it: the name of a step. */
      madeBy?: string;
    }[],
  ): Ref;
  /** A ref again from a cache record; undefined when its snapshot is gone. What it needs is added to the lease. */
  restore(serialized: SerializedRef, lease: string): Promise<Ref | undefined>;
}
