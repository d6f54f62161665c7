import type { CacheRecord, RecordType } from '../cache/index.ts';
import { DrydockError, fail, throwIfAborted } from '../errors/index.ts';
import { isProxied } from '../llb/index.ts';
import { type Digest, hex } from '../oci/index.ts';
import { keepTrees, type Ref, type RefContext, snapshotKeys } from '../store/index.ts';
import type { ForeignRecord } from './foreign-cache.ts';
import { ForeignRef } from './foreign-ref.ts';
import { keptName } from './kept-name.ts';
import type { Projects } from './projects.ts';
import { refContext } from './ref-context.ts';
import type { SolverDeps } from './solver.ts';
import type { VertexState } from './state.ts';
import type { VertexIdentity } from './work.ts';

/** Name of the lease that keeps a cache record's snapshots. */
export function recordLease(id: Digest): string {
  return `cache-${hex(id)}`;
}

/** Puts results into cache records and takes them out again, keeping their snapshots leased meanwhile. */
export class ResultStore {
  readonly #deps: Pick<SolverDeps, 'store' | 'cache' | 'restore'>;

  readonly #projects: Projects;

  constructor(deps: Pick<SolverDeps, 'store' | 'cache' | 'restore'>, projects: Projects) {
    this.#deps = deps;
    this.#projects = projects;
  }

  /** Makes sure the vertex has its lease. Throws `canceled` when the vertex was given up. */
  async lease(state: VertexState): Promise<void> {
    throwIfAborted(state.work.signal);
    await state.lease.make(this.#deps.store);
  }

  /** Gives up the vertex's lease; call it when its work has stopped. */
  drop(state: VertexState): Promise<void> {
    return state.lease.drop(this.#deps.store);
  }

  /** The refs of a record, or undefined when they are not all there any more. */
  async load(id: Digest, state: VertexState): Promise<readonly Ref[] | undefined> {
    const record = this.#deps.cache.byId(id);
    if (record?.results === undefined) return undefined;
    await this.lease(state);
    const refs: Ref[] = [];
    for (const serialized of record.results) {
      const ref = await this.#deps.restore(serialized, state.lease.name);
      if (ref === undefined) return undefined;
      refs.push(ref);
    }
    this.#deps.cache.touch(id);
    this.tellReached(id, state);
    this.#follow(id, refs, state);
    return refs;
  }

  /** Tells the builds what the step of a record once asked for by the proxy of its network. */
  tellReached(id: Digest, { vertex, context }: VertexState): void {
    const { op } = vertex.op;
    if (op.case !== 'exec' || !isProxied(op.value.network)) return;
    const network = this.#deps.cache.reached(id);
    if (network !== undefined) context.progress.reached?.(network);
  }

  /**
   * The refs of a vertex as caches from elsewhere have it, nothing of them fetched yet; undefined when an output that
   * is wanted is not to be had there. `make` does the vertex's work, should fetching fail later.
   */
  async loadForeign(
    identity: VertexIdentity,
    state: VertexState,
    make: () => Promise<readonly Ref[]>,
  ): Promise<readonly Ref[] | undefined> {
    const { foreign } = identity;
    if (foreign === undefined) return undefined;
    await this.lease(state);
    const ctx = refContext(state.context);
    const there = await Promise.all(foreign.map((records) => firstOf(records, ctx, state)));
    if ([...state.work.wanted].some((output) => there[output] === undefined)) return undefined;
    await this.#rememberInputs(state);
    this.#deps.cache.remember(recordOf(identity, state), identity.keys);
    const refs: Ref[] = there.map(
      (ref, output) =>
        new ForeignRef({
          id: ref?.id ?? `${identity.id}@${output}`,
          there: ref,
          keep: async (key, { lease }) => {
            const here = await this.#deps.restore({ kind: 'snapshot', key }, lease);
            if (here === undefined) throw fail('not-found', 'store', `there is no snapshot ${key}`);
            await this.hold([here], state);
            // Its own serialized form follows once this returns; the record is made of all outputs or not at all.
            const all = refs.map((each, i) => (i === output ? here : each));
            if (all.every((each) => each.serialize() !== undefined)) {
              await this.save(identity, all, await this.measure(all), state);
            }
            return here;
          },
          make: async () => (await make())[output] as Ref,
          onFailure: (err) => warnFailure(foreign[output]?.[0]?.cache.name ?? '', err, state),
        }),
    );
    return refs;
  }

  /** Sees that what a record is keyed by is known here, although it was found elsewhere. */
  async #rememberInputs(state: VertexState): Promise<void> {
    const seen = new Set<VertexState>();
    const queue = state.inputs.map((input) => input.state);
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      const named = next.work.identity;
      if (seen.has(next) || named === undefined) continue;
      seen.add(next);
      const identity = await named;
      // What was made here is known; it need not be looked at.
      if (identity.foreign === undefined || this.#deps.cache.known(identity.id)) continue;
      this.#deps.cache.remember(recordOf(identity, next), identity.keys);
      for (const input of next.inputs) queue.push(input.state);
    }
  }

  /** Keeps another vertex's refs for this one. */
  async hold(refs: readonly Ref[], state: VertexState): Promise<void> {
    await this.lease(state);
    await keepTrees(this.#deps.store, state.lease.name, refs);
  }

  /** Bytes that refs add to the store. What is stacked of others adds nothing of its own until it is made. */
  async measure(refs: readonly Ref[]): Promise<number> {
    const sizes = refs.flatMap((ref) => {
      const form = ref.serialize();
      return form?.kind === 'snapshot' ? [this.#deps.store.snapshots.usage(form.key)] : [];
    });
    return (await Promise.all(sizes)).reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * Writes the record, which in a moment keeps the refs' snapshots by itself. Refs that cannot outlive the build (a
   * client's folder) leave none.
   */
  async save(
    identity: VertexIdentity,
    refs: readonly Ref[],
    size: number,
    state: VertexState,
  ): Promise<void> {
    const { cache } = this.#deps;
    const results = refs.map((ref) => ref.serialize());
    if (!results.every((result) => result !== undefined)) return;
    const keys = results.flatMap(snapshotKeys);
    await this.#rememberInputs(state);
    const { job } = state.audience;
    const madeFor = job && (await this.#projects.madeFor(job));
    const before = cache.byId(identity.id);
    const reached = state.audience.network;
    cache.save({ ...recordOf(identity, state), madeFor, results, size, reached }, identity.keys);
    // The record comes before its lease: a kill in between leaves a record whose snapshots are swept with this
    // process's own lease, which `load` takes for a miss, and never a lease that nothing names. Nobody has to wait for
    // it: until then the vertex's lease, which is given up afterwards, keeps the snapshots.
    const keep = () => this.#keep(identity.id, keys, before !== undefined);
    // A record without a lease is a miss once its snapshots are collected, as after a kill.
    state.lease.outlast(keep().catch(() => {}));
    this.#follow(identity.id, refs, state);
  }

  /** Has the record name a tree that was in parts by its own snapshot, once that is made. */
  #follow(id: Digest, refs: readonly Ref[], state: VertexState): void {
    const renew = async () => {
      await state.lease.recorded;
      const results = refs.map((ref) => ref.serialize());
      if (!results.every((result) => result !== undefined)) return;
      if (!this.#deps.cache.putResults(id, results, await this.measure(refs))) return;
      await this.#keep(id, results.flatMap(snapshotKeys), true);
    };
    for (const ref of refs) ref.whenMade?.(() => renew().catch(() => {}));
  }

  /** Gives a record its lease; `again`: it may have one. */
  async #keep(id: Digest, keys: readonly string[], again: boolean): Promise<void> {
    const { leases } = this.#deps.store;
    const lease = recordLease(id);
    if (again) await leases.delete(lease);
    if (keys.length === 0) return;
    const holds = [...new Set(keys)].map((key) => ({ type: 'snapshot' as const, id: key }));
    await leases.create(lease, { pinned: true, holds });
  }
}

/** The first of these records that is to be had. What looking failed with is told, once each. */
async function firstOf(
  records: readonly ForeignRecord[],
  ctx: RefContext,
  state: VertexState,
): Promise<Ref | undefined> {
  for (const { cache, record } of records) {
    if (!cache.hasResult(record)) continue;
    try {
      const ref = await cache.restore(record, ctx);
      if (ref !== undefined) return ref;
    } catch (err) {
      if (!(err instanceof DrydockError) || err.code === 'canceled') throw err;
      warnFailure(cache.name, err, state);
    }
  }
  return undefined;
}

function warnFailure(name: string, err: DrydockError, state: VertexState): void {
  if (err.facts.notBrought) return;
  state.context.progress.warn({
    level: 1,
    short: `importing cache from ${name}: ${err.message}; the step is run instead`,
    detail: err.hint === undefined ? [] : [err.hint],
  });
}

function recordOf(
  { id }: VertexIdentity,
  state: VertexState,
): Pick<CacheRecord, 'id' | 'description' | 'type' | 'owner'> {
  const owner = state.context.session.tenant?.id;
  return { id, description: keptName(state.vertex), type: recordType(state), owner };
}

function recordType(state: VertexState): RecordType {
  const { op } = state.vertex.op;
  if (op.case !== 'source') return 'regular';
  if (op.value.identifier.startsWith('git://')) return 'source.git.checkout';
  return op.value.identifier.startsWith('upload://') ? 'source.local' : 'regular';
}
