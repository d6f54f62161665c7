/** The interface of refs, which makes the Refs (store/ref.ts) that ops return. */
import type { ViewSpec } from '../fs/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import type { Ref, SerializedRef } from '../store/index.ts';

/** The maker of refs of one store. */
export interface Refs {
  /** The empty tree. */
  empty(): Ref;
  /**
   * Two or more trees, none of them empty, stacked onto each other (lowest first) when first needed. Throws
   * `unsupported` when there are too many.
   */
  merge(parts: readonly Ref[]): Ref;
  /** The tree of a committed snapshot. */
  snapshot(key: string): Ref;
  /**
   * A folder on this host, seen through a filter. It cannot outlive the build. `snapshot()` copies it into the store.
   */
  folder(spec: Extract<ViewSpec, { kind: 'folder' }>): Ref;
  /**
   * The layers of a registry image (`source`: its reference), lowest first. They are fetched and unpacked when first
   * needed. Without a source their blobs must be in content by then.
   */
  image(
    source: string | undefined,
    layers: readonly {
      descriptor: Descriptor;
      diffId: Digest;
      /** When the layer was made, ms since the epoch. Not set for images that are built on. */
      madeAt?: number;
      /** The name of the step that made the layer. */
      madeBy?: string;
    }[],
  ): Ref;
  /** Restores a ref from a cache record and puts its snapshots under the lease; undefined when one is gone. */
  restore(serialized: SerializedRef, lease: string): Promise<Ref | undefined>;
}
