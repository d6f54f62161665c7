import { KeyedQueue, Limiter, SingleFlight } from '../flow/index.ts';

/** The work on a store that is under way in this process. The store owns it, so all callers share the same work. */
export class StoreWork {
  /** Snapshots that are being unpacked or stacked, by chain ID or key. */
  readonly stacking = new SingleFlight();
  /** Layers whose blobs are being made. */
  readonly packing = new SingleFlight();
  /** Blobs that are being fetched, by digest. */
  readonly fetching = new SingleFlight();
  /** The number of blobs fetched at once: docker fetches 3, and this is one more. */
  readonly fetches = new Limiter(4);
  /**
   * Orders callers who give one image's name at the same time: the second sees the image that the first has put there.
   */
  readonly naming = new KeyedQueue();
  /** Leases that should have been deleted and could not be; `letGoOfTheRest` tries again. */
  readonly lateLeases = new Set<string>();
}
