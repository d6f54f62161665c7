/**
 * The solver: finds what of a graph is cached, runs the rest, each vertex once however many builds hold it.
 *
 * Each vertex is first identified (which cache record is it?), which needs its inputs' identities, and their
 * results only where its key is content-based. A vertex whose identity was never seen before cannot hit, and nor
 * can anything keyed by it: it is run at once, side by side with whatever is still being identified.
 */
import type { Cache } from '../cache/index.ts';
import { canceled, type DrydockError, fail, throwIfAborted, toDrydockError } from '../errors/index.ts';
import { orAbort } from '../flow/index.ts';
import { canceledText } from '../progress/index.ts';
import type { Ref, SerializedRef, Store } from '../store/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';
import { borrow } from './borrow.ts';
import { Contents } from './contents.ts';
import { noteFailed } from './failed-vertex.ts';
import type { FleetCache } from './fleet-cache.ts';
import { follow, type OthersDeps } from './follow.ts';
import { Foresight } from './foresight.ts';
import { FoundElsewhere } from './found-elsewhere.ts';
import { Identifier } from './identify.ts';
import type { Job } from './job.ts';
import { keptName } from './kept-name.ts';
import { recordKey } from './keys.ts';
import type { MissTeller } from './miss.ts';
import { Misses } from './misses.ts';
import { holdsItself, nestedJob } from './nesting.ts';
import { Projects } from './projects.ts';
import { ResultStore } from './results.ts';
import type { VertexState } from './state.ts';
import { VertexStates } from './states.ts';
import { type TracedVertex, traceOf } from './trace.ts';
import type {
  CacheMap,
  Edge,
  ImageLayer,
  OpContext,
  OpFactory,
  OtherKeys,
  SourceInUse,
  Vertex,
} from './types.ts';
import type { VertexIdentity } from './work.ts';

export interface SolverDeps {
  store: Store;
  cache: Cache;
  makeOp: OpFactory;
  /** A ref again from what a cache record holds, or undefined when its parts are gone. */
  restore(serialized: SerializedRef, lease: string): Promise<Ref | undefined>;
  /** Says why steps run; undefined: nobody does. */
  misses?: MissTeller;
  /** The names that another builder's caches have for a vertex, asked for when such caches are read or written. */
  otherKeys?(vertex: Vertex, map: CacheMap): Promise<OtherKeys | undefined>;
  /** What builders elsewhere have made; undefined: there are none. */
  fleet?: FleetCache;
  /** SQLite file that keeps what files content digests cover, for saying what has changed; undefined: they are not kept. */
  listDb?: string;
}

/**
 * Solves the graphs of all builds of an engine.
 *
 * A build is a `Job`: `solve` it as often as it has graphs, ask what it was made of (`trace`, `images`) while it holds
 * what was solved, and `release` it in the end. The solver alone moves the work of vertices on: their names and results
 * are found here, who holds them is in `VertexStates`.
 */
export class Solver {
  readonly #deps: SolverDeps;
  readonly #results: ResultStore;
  readonly #contents: Contents;
  readonly #identifier: Identifier;
  readonly #foresight: Foresight | undefined;
  readonly #foundElsewhere = new FoundElsewhere();
  readonly #states: VertexStates;
  readonly #others: OthersDeps;
  /** States whose op runs, by `recordKey`, so that equal work found by content is done once too. */
  readonly #working = new Map<string, VertexState>();
  readonly #misses: Misses;
  #stepsRun = 0;

  constructor(deps: SolverDeps) {
    this.#deps = deps;
    const { makeOp } = deps;
    const projects = new Projects();
    const results = new ResultStore(deps, projects);
    const states = new VertexStates({ makeOp, results, foundElsewhere: this.#foundElsewhere });
    this.#results = results;
    this.#misses = new Misses(deps.misses, projects);
    this.#states = states;
    this.#others = { states, results, resultOf: (state) => this.#result(state) };
    this.#contents = new Contents(deps, (state) => this.#result(state));
    this.#identifier = new Identifier(deps, this.#contents);
    const { fleet, cache } = deps;
    this.#foresight =
      fleet && new Foresight({ fleet, cache }, this.#contents, (state) => this.#identify(state));
  }

  /** How many steps have been run so far: sources and what was found in the cache or shared do not count. */
  get stepsRun(): number {
    return this.#stepsRun;
  }

  /**
   * Solves edges for a build. Rejects with the first failure after all other work that only this solve wanted has
   * stopped, or with `canceled` when the build was aborted. `vertices` must be in an order in which inputs come
   * first; they may be those of several graphs, one after the other: vertices of one digest are one. What was solved
   * stays held (its snapshots leased) until `release`.
   */
  async solve(job: Job, vertices: readonly Vertex[], outputs: readonly Edge[]): Promise<Ref[]> {
    throwIfAborted(job.signal);
    const hold = this.#states.begin(job);
    try {
      const held = await this.#states.join(hold, vertices, outputs);
      // In input-first order, so that the recursion inside `identify` never goes deeper than one level.
      for (const state of held.values()) void this.#identify(state).catch(() => {});
      this.#foresight?.begin(held.values());
      const results = Promise.all(
        outputs.map(async (edge) => {
          const state = held.get(edge.vertex.digest);
          if (state === undefined) throw fail('invalid', 'llb', `unknown vertex ${edge.vertex.digest}`);
          const ref = await this.#output(state, edge.index);
          state.audience.settle();
          return ref;
        }),
      );
      return await orAbort(Promise.race([results, hold.failed]), job.signal);
    } catch (err) {
      await this.#states.letGo(hold, err);
      throw err;
    }
  }

  /**
   * What a build that is done was made of, inputs first: for exporting its cache. Nothing is run for it; the list holds
   * until `release`.
   */
  async trace(job: Job, vertices: readonly Vertex[], outputs: readonly Edge[]): Promise<TracedVertex[]> {
    const hold = this.#states.begin(job);
    const held = await this.#states.join(hold, vertices, outputs);
    for (const state of held.values()) void this.#identify(state).catch(() => {});
    return traceOf([...held.values()], {
      cache: this.#deps.cache,
      identify: (state) => this.#identify(state),
      results: (state, identity) => this.#known(state, identity),
      otherKeys: async (state) => this.#deps.otherKeys?.(state.vertex, await state.cacheMap()),
      sums: (state, index, selectors) => this.#contents.sums(state, index, selectors),
    });
  }

  /** The images that a build has used so far: the blobs that the layers of each are, lowest first. */
  async images(job: Job): Promise<(readonly ImageLayer[])[]> {
    const found = await this.#sourceMaps(job);
    return found.flatMap(({ map }) => (map.layers === undefined ? [] : [map.layers]));
  }

  /** The sources that a build has used so far, those of graphs nested in its steps among them. */
  async sources(job: Job): Promise<SourceInUse[]> {
    const found = await this.#sourceMaps(job);
    return found.flatMap(({ vertex, map: { used, layers = [] } }) => {
      const { op } = vertex.op;
      return used === undefined || op.case !== 'source'
        ? []
        : [{ vertex: vertex.digest, source: op.value, used, layers }];
    });
  }

  /** What the sources are that a build holds. One that is still being looked up is not part of what is there. */
  async #sourceMaps(job: Job): Promise<{ vertex: Vertex; map: CacheMap }[]> {
    const found = await Promise.all(
      [...this.#states.heldBy(job)].map(async (state) => {
        const inner = state.work.nested;
        const nested = inner === undefined ? [] : await this.#sourceMaps(inner);
        if (state.vertex.op.op.case !== 'source') return nested;
        const map = await Promise.race([state.cacheMap(), Promise.resolve(undefined)]).catch(() => undefined);
        return map === undefined ? nested : [...nested, { vertex: state.vertex, map }];
      }),
    );
    return found.flat();
  }

  /** A vertex's result, unless it would have to be made. */
  async #known(state: VertexState, identity: VertexIdentity): Promise<readonly Ref[] | undefined> {
    const { result } = state.work;
    if (result !== undefined) return result.catch(() => undefined);
    if (identity.volatile) return undefined;
    const loaded = await this.#results.load(identity.id, state);
    if (loaded !== undefined || identity.foreign === undefined) return loaded;
    return this.#results.loadForeign(identity, state, () => this.#anew(state, identity));
  }

  /** Notes that a build has ended well, before it lets go of what it holds. */
  over(job: Job): void {
    this.#misses.over(job);
  }

  /** Lets go of all that a build holds and waits until what nobody else wants has stopped; call it once when the build is over. */
  release(job: Job): Promise<void> {
    return this.#states.release(job);
  }

  /** The build that graphs nested in a running op are solved in: it lives as long as the op's vertex is held. */
  jobOf(ctx: OpContext): Job {
    const state = this.#states.byContext(ctx);
    if (state === undefined) throw canceled(ctx.signal.reason);
    return nestedJob(state);
  }

  /** The identity of a vertex. */
  #identify(state: VertexState): Promise<VertexIdentity> {
    return state.work.identified(() =>
      this.#findIdentity(state).catch((err) => {
        throw this.#fault(state, err);
      }),
    );
  }

  async #findIdentity(state: VertexState): Promise<VertexIdentity> {
    if (isDue()) await nextTurn();
    const { op } = state.vertex.op;
    const isSource = op.case === 'source';
    if (isSource) {
      // Naming a source is real work (a tag is resolved, a manifest kept).
      state.audience.mark('started');
      await this.#results.lease(state);
    }
    const named = state.work.orCanceled(
      Promise.all(state.inputs.map((input) => this.#identify(input.state))),
    );
    named.catch(() => {});
    // The op's own work is waited for even when all is given up; that of other vertices is not.
    const map = await state.cacheMap();
    for (const [i, input] of state.inputs.entries()) {
      const content = map.deps[i]?.content;
      if (content === undefined) continue;
      // What is volatile is keyed by its content in any case: that is read while other inputs are still being named.
      void this.#identify(input.state)
        .then(async ({ volatile }) => {
          if (volatile) await this.#contents.digest(input.state, input.index, content);
        })
        .catch(() => {});
    }
    const inputs = await named;
    if (isDue()) await nextTurn();
    const found = await this.#identifier.find(state, map, inputs);
    const { identity, hit } = await this.#foundElsewhere.share(state, found);
    // Nobody may need its result, as what was made of it is cached, too.
    if (identity.foreign === undefined) this.#results.tellReached(identity.id, state);
    if (hit) state.audience.mark('cached');
    else if (identity.fresh && !identity.volatile) {
      queueMicrotask(() => void this.#result(state).catch(() => {}));
    } else if (isSource && !identity.volatile) state.audience.settle();
    return identity;
  }

  /** The refs of all outputs of a vertex. */
  #result(state: VertexState): Promise<readonly Ref[]> {
    return state.work.resolved(() =>
      this.#findResult(state).catch((err) => {
        throw this.#fault(state, err);
      }),
    );
  }

  async #findResult(state: VertexState): Promise<readonly Ref[]> {
    const identity = await this.#identify(state);
    if (isDue()) await nextTurn();
    const record = recordKey(identity.id, state.context.session);
    let inputs: readonly Ref[] | undefined;
    const { tenant } = state.context.session;
    // One tenant's word is never recorded as everybody's.
    const mayBeForeign = tenant === undefined || identity.shared !== undefined || identity.fleet === true;
    let mayBeInFleet = true;
    let isForeign = mayBeForeign && !identity.volatile && identity.foreign !== undefined;
    let unexpect: (() => void) | undefined;
    try {
      for (;;) {
        throwIfAborted(state.work.signal);
        const other = this.#working.get(record);
        if (other !== undefined) {
          if (state.audience.within.includes(other)) throw holdsItself(state.vertex);
          const refs = await follow(state, other, this.#others);
          if (refs !== undefined) return refs;
          continue;
        }
        // Looked up (again) here: an equal vertex may have been saved since this one was identified.
        let loaded = identity.volatile ? undefined : await this.#results.load(identity.id, state);
        if (loaded === undefined && isForeign) {
          // Once: what is not to be had now is not looked for again when the inputs are there.
          isForeign = false;
          loaded = await this.#results.loadForeign(identity, state, () => this.#anew(state, identity));
        }
        if (loaded === undefined && mayBeInFleet) {
          mayBeInFleet = false;
          const found = await this.#identifier.fromFleet(state, identity);
          if (found) loaded = await this.#results.loadForeign(found, state, () => this.#anew(state, found));
        }
        if (loaded !== undefined) {
          if (!state.audience.isCached) state.audience.mark('cached');
          return loaded;
        }
        // The inputs come before the work is claimed: one of them may have the very same identity.
        if (inputs === undefined) {
          unexpect = state.op.expect?.();
          inputs = await state.work.orCanceled(
            Promise.all(state.inputs.map((input) => this.#output(input.state, input.index))),
          );
          continue;
        }
        if (this.#working.has(record)) continue;
        this.#working.set(record, state);
        unexpect?.();
        try {
          return await this.#run(state, identity, inputs);
        } finally {
          this.#working.delete(record);
        }
      }
    } finally {
      unexpect?.();
    }
  }

  /** Does a vertex's work although it was a hit: the cache it was in cannot deliver. */
  #anew(state: VertexState, identity: VertexIdentity): Promise<readonly Ref[]> {
    const make = async () => {
      const inputs = await Promise.all(state.inputs.map((input) => this.#output(input.state, input.index)));
      return this.#run(state, identity, inputs);
    };
    return state.work.doneAnew(() =>
      make().catch((err) => {
        throw this.#fault(state, err);
      }),
    );
  }

  /** One output of a vertex. */
  async #output(state: VertexState, index: number): Promise<Ref> {
    const ref = (await this.#result(state))[index];
    if (ref === undefined) throw fail('invalid', 'llb', `${state.vertex.name} has no output ${index}`);
    return ref;
  }

  /** Has the op make the refs, which are recorded if they are what the identity says. */
  async #run(state: VertexState, identity: VertexIdentity, inputs: readonly Ref[]): Promise<readonly Ref[]> {
    const { context } = state;
    await this.#results.lease(state);
    if (!state.audience.isStarted) state.audience.mark('started');
    // Should every build let go of the inputs while a follower waits for this result, they must still stay.
    const read = new Set(state.inputs.map((input) => input.state));
    for (const input of read) input.work.beginRead();
    try {
      if (state.vertex.op.op.case !== 'source') this.#stepsRun++;
      const miss = await this.#misses.begin(state, identity);
      const began = performance.now();
      const refs = await state.op
        .exec(inputs, context)
        .finally(() => miss?.ended())
        .catch((err) => borrow(state, err, this.#others));
      const took = performance.now() - began;
      if (identity.volatile) return refs;
      const [size, holds] = await Promise.all([
        this.#results.measure(refs),
        this.#identifier.holds(state, identity, inputs),
      ]);
      const isTainted = !holds || state.inputs.some((input) => input.state.work.isTainted);
      state.work.taint(isTainted);
      if (!isTainted) {
        await this.#results.save(identity, refs, size, state);
        this.#tellFleet(state, identity, refs, took);
      }
      state.audience.made(refs);
      await miss?.told;
      if (!isTainted) miss?.recorded();
      state.audience.mark('completed');
      return refs;
    } finally {
      for (const input of read) input.work.endRead();
      const left = [...read].filter((input) => !input.isHeld);
      await Promise.all(left.map((input) => this.#states.retire(input, state.work.signal.reason)));
    }
  }

  /** Has others find what was made, unless it is one tenant's alone or made for one whose word does not count. */
  #tellFleet(state: VertexState, identity: VertexIdentity, refs: readonly Ref[], took: number): void {
    const { fleet } = this.#deps;
    const { session } = state.context;
    if (fleet === undefined || state.vertex.op.op.case === 'source' || identity.own === true) return;
    if (session.tenant?.sharesResults === false || session.offline) return;
    const keys = identity.keys.filter(({ own }) => !own).map(({ key }) => key);
    if (keys.length === 0 || refs.some((ref) => ref.serialize() === undefined)) return;
    const { id } = identity;
    const description = keptName(state.vertex);
    state.lease.outlast(fleet.write({ id, keys, description, took, refs, session }));
  }

  /** Marks a vertex as failed, gives its error the step and the Dockerfile line, once, and fails the solves that hold it. */
  #fault(state: VertexState, err: unknown): DrydockError {
    const error = toDrydockError(err, 'solver');
    error.vertex ??= state.vertex.digest;
    noteFailed(error, state.vertex);
    this.#states.forget(state);
    if (state.work.signal.aborted && error.code === 'canceled') {
      if (state.audience.isStarted) state.audience.mark({ error: canceledText });
      return error;
    }
    if (error.step === undefined) {
      error.step = state.vertex.name;
      error.source ??= state.vertex.source;
      state.audience.mark({ error: error.message });
    } else if (state.audience.isStarted) state.audience.mark({ error: error.message });
    state.audience.fail(error);
    return error;
  }
}
