import { KeyedQueue, Limiter, SingleFlight } from '../flow/index.ts';

/** The work on a store that is under way in this process. The store holds it, so that all who work on it share it. */
export class StoreWork {
  /** Snapshots that are being unpacked or stacked, by chain ID or key. */
  readonly stacking = new SingleFlight();
  /** Layers that are being made into blobs. */
  readonly packing = new SingleFlight();
  /** Blobs that are being fetched, by digest. */
  readonly fetching = new SingleFlight();
  /** Blobs fetched at once, as docker has it (3) and one more. */
  readonly fetches = new Limiter(4);
  /** Of two who give an image one name at a time, the second sees what the first has put there. */
  readonly naming = new KeyedQueue();
  /** Leases whose work is over and that could not be deleted then. */
  readonly lateLeases = new Set<string>();
}
