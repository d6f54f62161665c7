/** Giving up leases when the store may be in trouble itself: containerd is away, or the disk is full. */
import type { Store } from '../store.ts';

/** Leases whose work is over and that could not be deleted then. */
const left = new WeakMap<Store, Set<string>>();

/**
 * Deletes a lease. Never throws: how the work under it ended is what its caller is to hear. What cannot be deleted now is
 * tried again by `letGoOfTheRest`, and goes with this process at the latest.
 */
export async function letGo(store: Store, lease: string): Promise<void> {
  try {
    await store.leases.delete(lease);
    left.get(store)?.delete(lease);
  } catch {
    const waiting = left.get(store) ?? new Set();
    left.set(store, waiting.add(lease));
  }
}

/** Deletes what could not be deleted before; call it when the store has just proved to work. */
export async function letGoOfTheRest(store: Store): Promise<void> {
  for (const lease of left.get(store) ?? []) await letGo(store, lease);
}
