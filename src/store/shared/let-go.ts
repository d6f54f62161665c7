/** Deletes leases at times when the store itself may be in trouble: containerd is away, or the disk is full. */
import type { Store } from '../store.ts';

/**
 * Deletes a lease and never throws: the caller reports how the work under the lease ended, not this. A lease that
 * cannot be deleted now is tried again by `letGoOfTheRest`, and ends with this process at the latest.
 */
export async function letGo(store: Store, lease: string): Promise<void> {
  try {
    await store.leases.delete(lease);
    store.work.lateLeases.delete(lease);
  } catch {
    store.work.lateLeases.add(lease);
  }
}

/** Deletes the leases that could not be deleted before. Call it when the store has just proved to work. */
export async function letGoOfTheRest(store: Store): Promise<void> {
  for (const lease of store.work.lateLeases) await letGo(store, lease);
}
