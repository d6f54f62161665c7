import type { RecordType } from '../cache/cache.ts';
import { throwIfAborted } from '../errors/error.ts';
import { hex } from '../oci/digest.ts';
import type { Digest } from '../oci/types.ts';
import type { Ref, SerializedRef } from '../store/ref.ts';
import type { SolverDeps } from './solver.ts';
import type { Identity, VertexState } from './state.ts';

/** Name of the lease that keeps a cache record's snapshots. */
export function recordLease(id: Digest): string {
  return `cache-${hex(id)}`;
}

/** Puts results into cache records and takes them out again, keeping their snapshots leased meanwhile. */
export class ResultStore {
  readonly #deps: Pick<SolverDeps, 'store' | 'cache' | 'restore'>;

  constructor(deps: Pick<SolverDeps, 'store' | 'cache' | 'restore'>) {
    this.#deps = deps;
  }

  /** Makes sure the vertex has its lease. Throws `canceled` when the vertex was given up. */
  async lease(state: VertexState): Promise<void> {
    throwIfAborted(state.signal);
    state.leased ??= this.#deps.store.leases.create(state.lease);
    await state.leased;
  }

  /** Gives up the vertex's lease; call it when its work has stopped. */
  async drop(state: VertexState): Promise<void> {
    if (state.leased === undefined) return;
    await Promise.all([state.leased.catch(() => {}), state.recorded]);
    await this.#deps.store.leases.delete(state.lease);
  }

  /** The refs of a record, or undefined when they are not all there any more. */
  async load(id: Digest, state: VertexState): Promise<readonly Ref[] | undefined> {
    const record = this.#deps.cache.byId(id);
    if (record?.results === undefined) return undefined;
    await this.lease(state);
    const refs: Ref[] = [];
    for (const serialized of record.results) {
      const ref = await this.#deps.restore(serialized, state.lease);
      if (ref === undefined) return undefined;
      refs.push(ref);
    }
    this.#deps.cache.touch(id);
    return refs;
  }

  /** Keeps another vertex's refs for this one. */
  async hold(refs: readonly Ref[], state: VertexState): Promise<void> {
    await this.lease(state);
    for (const ref of refs) {
      const serialized = ref.serialize();
      if (serialized?.kind === 'snapshot') {
        await this.#deps.store.leases.add(state.lease, { type: 'snapshot', id: serialized.key });
      }
    }
  }

  /** Bytes that refs add to the store. */
  async measure(refs: readonly Ref[]): Promise<number> {
    const sizes = snapshotKeys(refs.map((ref) => ref.serialize())).map((key) =>
      this.#deps.store.snapshots.usage(key),
    );
    return (await Promise.all(sizes)).reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * Writes the record, which in a moment keeps the refs' snapshots by itself. Refs that cannot outlive the build (a
   * client's folder) leave none.
   */
  async save(identity: Identity, refs: readonly Ref[], size: number, state: VertexState): Promise<void> {
    const { store, cache } = this.#deps;
    const results = refs.map((ref) => ref.serialize());
    if (!results.every((result) => result !== undefined)) return;
    const keys = snapshotKeys(results);
    const { vertex } = state;
    const before = cache.byId(identity.id);
    cache.save(
      { id: identity.id, description: vertex.name, type: recordType(state), results, size },
      identity.keys,
    );
    // The record comes before its lease: a kill in between leaves a record whose snapshots are swept with this
    // process's own lease, which `load` takes for a miss, and never a lease that nothing names. Nobody has to wait for
    // it: until then the vertex's lease, which is given up afterwards, keeps the snapshots.
    const keep = async () => {
      const lease = recordLease(identity.id);
      if (before !== undefined) await store.leases.delete(lease);
      if (keys.length === 0) return;
      await store.leases.create(lease, { pinned: true });
      await Promise.all(keys.map((key) => store.leases.add(lease, { type: 'snapshot', id: key })));
    };
    // A record without a lease is a miss once its snapshots are collected, as after a kill.
    state.recorded = keep().catch(() => {});
  }
}

function snapshotKeys(results: readonly (SerializedRef | undefined)[]): string[] {
  return results.flatMap((result) => (result?.kind === 'snapshot' ? [result.key] : []));
}

function recordType(state: VertexState): RecordType {
  const { op } = state.vertex.op;
  if (op.case !== 'source') return 'regular';
  if (op.value.identifier.startsWith('git://')) return 'source.git.checkout';
  return op.value.identifier.startsWith('upload://') ? 'source.local' : 'regular';
}
