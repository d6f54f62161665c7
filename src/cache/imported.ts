/** The door to caches from elsewhere: read-only keys beside the local records, for the builds that named them. */
import type { Digest } from '../oci/types.ts';
import type { Ref, RefContext } from '../store/ref.ts';

/** What is known of one input of a vertex when it is looked up. */
export interface ImportedInput {
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
export interface ImportedCache {
  /** `reg.example/app:cache`, as progress shows it. */
  readonly name: string;
  /** The records that an output of an op with these inputs may be. */
  match(op: Digest, output: number, inputs: readonly ImportedInput[]): number[];
  /** Whether a record says of what layers its tree is. */
  hasResult(record: number): boolean;
  /**
   * A record's tree, nothing of it fetched yet. Undefined when its layers are not (all) to be had; throws what looking
   * for them failed with.
   */
  restore(record: number, ctx: RefContext): Promise<Ref | undefined>;
  /** Digests of contents by which the inputs of a record are known there, in the form `ImportedLeaf` is written in. */
  leaves(record: number): readonly (readonly ImportedLeaf[])[];
}

/** A name that an input has by its content alone. */
export interface ImportedLeaf {
  /** As `contentRecord` makes it. */
  digest: string;
  selector: string;
}

/** A record of an imported cache. */
export interface ImportedRecord {
  cache: ImportedCache;
  record: number;
}
