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
  fetches = new Limiter(4);
  /** The number of blobs of one push that are sent at once. */
  uploads = 4;
  /**
   * Orders callers who give one image's name at the same time: the second sees the image that the first has put there.
   */
  readonly naming = new KeyedQueue();
  /** Leases that should have been deleted and could not be; `letGoOfTheRest` tries again. */
  readonly lateLeases = new Set<string>();

  /** Sets how many blobs are transferred at once, before any is; undefined leaves a number as it is. */
  limit({ fetches, uploads }: { fetches?: number; uploads?: number }): void {
    if (fetches !== undefined) this.fetches = new Limiter(fetches);
    if (uploads !== undefined) this.uploads = uploads;
  }
}
