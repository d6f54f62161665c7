/**
 * The door to foreign caches (of a registry, a client's folder, an image's config): read-only keys beside the local
 * records, for the builds that named them.
 */
import type { Digest } from '../oci/index.ts';
import type { Ref, RefContext } from '../store/index.ts';

/** What is known of one input of a vertex when it is looked up. */
export interface ForeignInput {
  /** Records of this cache that the input may be, as far as it is keyed by them. */
  records: readonly number[];
  /** Part of the input that matters. */
  selector: string;
  /** Digest of the selected contents, where they are known. */
  content?: Digest;
}

/**
 * One cache from elsewhere. Records are numbers that mean something to this cache alone; each stands for one output of
 * one vertex.
 */
export interface ForeignCache {
  /** `reg.example/app:cache`, as progress shows it. */
  readonly name: string;
  /** The records that an output of an op with these inputs may be. */
  match(op: Digest, output: number, inputs: readonly ForeignInput[]): number[];
  /** Whether a record says of what layers its tree is. */
  hasResult(record: number): boolean;
  /**
   * A record's tree, nothing of it fetched yet. Undefined when its layers are not (all) to be had; throws what looking
   * for them failed with.
   */
  restore(record: number, ctx: RefContext): Promise<Ref | undefined>;
  /** Digests of contents by which the inputs of a record are known there, in the form `ForeignLeaf` is written in. */
  leaves(record: number): readonly (readonly ForeignLeaf[])[];
}

/** A name that an input has by its content alone. */
export interface ForeignLeaf {
  /** As `contentRecord` makes it. */
  digest: string;
  selector: string;
}

/** A record of a foreign cache. */
export interface ForeignRecord {
  cache: ForeignCache;
  record: number;
}
