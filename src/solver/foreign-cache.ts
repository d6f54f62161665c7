/**
 * The door to foreign caches (of a registry, a client's folder, an image's config): read-only keys beside the local
 * records, for the builds that named them.
 */
import type { Descriptor, Digest } from '../oci/index.ts';
import type { Ref, RefContext } from '../store/index.ts';

declare module '../errors/error.ts' {
  interface ErrorFacts {
    /** A tree is not to be had since its maker has not brought it: the step is run, and nobody is warned. */
    notBrought?: true;
  }
}

/** What is known of one input of a vertex when it is looked up. */
export interface ForeignInput {
  /** Records of this cache that the input may be, as far as it is keyed by them. */
  records: readonly number[];
  /** Part of the input that matters. */
  selector: string;
  /** Digests that the selected contents may have, where they are known. */
  contents: readonly Digest[];
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
  /** Whether there are records of an output of an op at all, whatever their inputs are. */
  has(op: Digest, output: number): boolean;
  /** Whether a record says of what layers its tree is. */
  hasResult(record: number): boolean;
  /**
   * A record's tree, nothing of it fetched yet. Undefined when its layers are not (all) to be had; throws what looking
   * for them failed with.
   */
  restore(record: number, ctx: RefContext): Promise<Ref | undefined>;
  /** Digests of contents by which the inputs of a record are known there, in the form `ForeignLeaf` is written in. */
  leaves(record: number): readonly (readonly ForeignLeaf[])[];
  /** The cache mounts that travel with it. */
  readonly mounts?: readonly ForeignMount[];
}

/** A cache mount (`RUN --mount=type=cache`) as a cache from elsewhere has it. */
export interface ForeignMount {
  /** The name of the cache that has it, as progress shows it. */
  readonly cache: string;
  /** The place of its layers: `registry:reg.example/app:cache`. */
  readonly target: string;
  /** The name of the mount, with the digest of what it was filled from. */
  readonly key: string;
  /** When it was exported, ms since the epoch. */
  readonly madeAt: number;
  /** The folder itself. */
  readonly root: { mode: number; uid: number; gid: number };
  /** Lowest first. */
  readonly layers: readonly { descriptor: Descriptor; diffId: Digest }[];
  /** Sees to it that a layer's blob is in content, under the lease. Throws what fetching it failed with. */
  bring(layer: Descriptor, ctx: RefContext): Promise<void>;
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
  /** Whether it was found by another builder's name for the vertex. */
  isOther: boolean;
}
