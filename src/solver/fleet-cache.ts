/**
 * The door to a fleet's cache: results that builders elsewhere have filed under the same keys as ours, for all builds.
 * It is asked for what the local cache lacks and told what was made.
 */
import type { Digest } from '../oci/index.ts';
import type { Session } from '../session/index.ts';
import type { Ref } from '../store/index.ts';
import type { ForeignCache } from './foreign-cache.ts';

/** A result that another builder has made. */
export interface FleetRecord {
  /** What users of the vertex are keyed by. */
  readonly id: Digest;
  /** Its outputs: the numbers of this cache's records. */
  readonly cache: ForeignCache;
}

/** A result that was made here. */
export interface FleetResult {
  readonly id: Digest;
  /** All keys that lead to it and say nothing of one tenant alone. */
  readonly keys: readonly Digest[];
  readonly description: string;
  /** How long its op took, ms. */
  readonly took: number;
  /** By output. They are kept until `write` settles. */
  readonly refs: readonly Ref[];
  /** Whose credentials may bring layers that are still elsewhere. */
  readonly session: Session;
}

/** See the top of this file. */
export interface FleetCache {
  /** What is filed under a key; undefined: nothing, or the cache does not answer in time. Rejects with `canceled` only. */
  find(
    key: Digest,
    ctx: { signal: AbortSignal; warn(short: string): void },
  ): Promise<FleetRecord | undefined>;
  /** Asks ahead for what `find` will soon be asked for, and gives the id of what it will find. Never rejects. */
  expect(key: Digest): Promise<Digest | undefined>;
  /** Files a result, in the background. Never rejects. */
  write(made: FleetResult): Promise<void>;
}
