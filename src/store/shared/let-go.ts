/** Giving up leases when the store may be in trouble itself: containerd is away, or the disk is full. */
import type { Store } from '../store.ts';

/**
 * Deletes a lease. Never throws: how the work under it ended is what its caller is to hear. What cannot be deleted now is
 * tried again by `letGoOfTheRest`, and goes with this process at the latest.
 */
export async function letGo(store: Store, lease: string): Promise<void> {
  try {
    await store.leases.delete(lease);
    store.work.lateLeases.delete(lease);
  } catch {
    store.work.lateLeases.add(lease);
  }
}

/** Deletes what could not be deleted before; call it when the store has just proved to work. */
export async function letGoOfTheRest(store: Store): Promise<void> {
  for (const lease of store.work.lateLeases) await letGo(store, lease);
}
