/**
 * The solver: finds what of a graph is cached, runs the rest, each vertex once however many builds hold it.
 *
 * Each vertex is first identified (which cache record is it?), which needs its inputs' identities, and their
 * results only where its key is content-based. A vertex whose identity was never seen before cannot hit, and nor
 * can anything keyed by it: it is run at once, side by side with whatever is still being identified.
 */
import type { Cache } from '../cache/cache.ts';
import { canceled, DrydockError, fail, throwIfAborted, toDrydockError } from '../errors/error.ts';
import { orAbort } from '../flow/or-abort.ts';
import type { Digest } from '../oci/types.ts';
import type { Session } from '../session/types.ts';
import type { Ref, SerializedRef } from '../store/ref.ts';
import type { Store } from '../store/store.ts';
import { isDue, nextTurn } from '../workers/turns.ts';
import { canceledText } from './audience.ts';
import { Contents } from './contents.ts';
import { noteFailed } from './failed-vertex.ts';
import { ForeignRef } from './foreign-ref.ts';
import { FoundElsewhere } from './found-elsewhere.ts';
import { Hold } from './hold.ts';
import { Identifier } from './identify.ts';
import { Job, type LoadDefinition } from './job.ts';
import { recordKey, workKey } from './keys.ts';
import { ResultStore } from './results.ts';
import { VertexState } from './state.ts';
import { type TracedVertex, traceOf } from './trace.ts';
import type { Edge, ImageLayer, OpContext, OpFactory, Vertex } from './types.ts';
import type { Identity } from './work.ts';

export interface SolverDeps {
  store: Store;
  cache: Cache;
  makeOp: OpFactory;
  /** A ref again from what a cache record holds, or undefined when its parts are gone. */
  restore(serialized: SerializedRef, lease: string): Promise<Ref | undefined>;
}

/** Why what nobody holds any more is stopped: one for all, as each would cost more than the rest of letting go. */
const released = new DOMException('the build is over', 'AbortError');

/** Build ops whose definitions hold build ops, so many deep. */
const maxNesting = 32;

export class Solver {
  readonly #deps: SolverDeps;
  readonly #results: ResultStore;
  readonly #contents: Contents;
  readonly #identifier: Identifier;
  readonly #foundElsewhere = new FoundElsewhere();
  /** States that a new solve may join, by work key. */
  readonly #states = new Map<string, VertexState>();
  readonly #byContext = new WeakMap<OpContext, VertexState>();
  /** States whose op runs, by `recordKey`, so that equal work found by content is done once too. */
  readonly #working = new Map<string, VertexState>();
  #stepsRun = 0;

  constructor(deps: SolverDeps) {
    this.#deps = deps;
    this.#results = new ResultStore(deps);
    this.#contents = new Contents(deps, (state) => this.#result(state));
    this.#identifier = new Identifier(deps, this.#contents);
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
    const hold = new Hold(job);
    job.holds.add(hold);
    try {
      const held = await this.#holdAll(hold, vertices, outputs);
      // In input-first order, so that the recursion inside `identify` never goes deeper than one level.
      for (const state of held.values()) void this.#identify(state).catch(() => {});
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
      job.holds.delete(hold);
      await this.#letGo(hold, err);
      throw err;
    }
  }

  /**
   * What a build that is done was made of, inputs first: for exporting its cache. Nothing is run for it; the list holds
   * until `release`.
   */
  async trace(job: Job, vertices: readonly Vertex[], outputs: readonly Edge[]): Promise<TracedVertex[]> {
    const hold = new Hold(job);
    job.holds.add(hold);
    const held = await this.#holdAll(hold, vertices, outputs);
    for (const state of held.values()) void this.#identify(state).catch(() => {});
    return traceOf([...held.values()], {
      cache: this.#deps.cache,
      identify: (state) => this.#identify(state),
      results: (state, identity) => this.#known(state, identity),
    });
  }

  /** The images that a build has used so far: the blobs that the layers of each are, lowest first. */
  async images(job: Job): Promise<(readonly ImageLayer[])[]> {
    const states = new Set([...job.holds].flatMap((hold) => [...hold.states]));
    const found = await Promise.all(
      [...states].map(async (state) => {
        const { nested: job } = state.work;
        const nested = job === undefined ? [] : await this.images(job);
        if (state.vertex.op.op.case !== 'source') return nested;
        // One that is still being looked up is not part of what is there.
        const map = await Promise.race([state.cacheMap(), Promise.resolve(undefined)]).catch(() => undefined);
        return map?.layers === undefined ? nested : [...nested, map.layers];
      }),
    );
    return found.flat();
  }

  /** A vertex's result, unless it would have to be made. */
  async #known(state: VertexState, identity: Identity): Promise<readonly Ref[] | undefined> {
    const { result } = state.work;
    if (result !== undefined) return result.catch(() => undefined);
    if (identity.volatile) return undefined;
    const loaded = await this.#results.load(identity.id, state);
    if (loaded !== undefined || identity.foreign === undefined) return loaded;
    return this.#results.loadForeign(identity, state, () => this.#anew(state, identity));
  }

  /** Lets go of all that a build holds and waits until what nobody else wants has stopped; call it once when the build is over. */
  async release(job: Job): Promise<void> {
    job.end();
    const holds = [...job.holds];
    job.holds.clear();
    await Promise.all(holds.map((hold) => this.#letGo(hold, job.signal.reason ?? released)));
    if (job.within.length === 0) await job.pins.end();
  }

  /** The build that graphs nested in a running op are solved in: it lives as long as the op's vertex is held. */
  jobOf(ctx: OpContext): Job {
    const state = this.#byContext.get(ctx);
    if (state === undefined || ctx.signal.aborted) throw canceled(ctx.signal.reason);
    const { audience, work } = state;
    return work.nest(() => {
      const within = [...audience.within, state];
      if (within.length > maxNesting) {
        throw fail('invalid', 'llb', `definitions are nested deeper than ${maxNesting}`);
      }
      const { allow, pins } = audience;
      const load: LoadDefinition = (definition) => audience.load(definition);
      const job = new Job(ctx.session, audience.forward(), ctx.signal, { allow, within, pins, load });
      job.imports.push(audience.imports());
      return job;
    });
  }

  /** Joins the states of all vertices that the outputs need. */
  async #holdAll(
    hold: Hold,
    vertices: readonly Vertex[],
    outputs: readonly Edge[],
  ): Promise<Map<Digest, VertexState>> {
    const wanted = ancestors(outputs);
    const held = new Map<Digest, VertexState>();
    for (const vertex of vertices) {
      if (isDue()) {
        await nextTurn();
        throwIfAborted(hold.job.signal);
      }
      if (!wanted.has(vertex.digest) || held.has(vertex.digest)) continue;
      const inputs = vertex.inputs.map(({ vertex: input, index }) => {
        const state = held.get(input.digest);
        if (state === undefined) throw fail('internal', 'solver', `${vertex.digest} comes before its input`);
        return { state, index };
      });
      const key = workKey(
        vertex,
        hold.job,
        inputs.map((input) => input.state.key),
      );
      let state = this.#states.get(key);
      // A state whose input failed or was given up meanwhile is about to fail as well: start anew.
      if (state?.inputs.some((input, i) => input.state !== inputs[i]?.state)) state = undefined;
      if (state !== undefined && hold.job.within.includes(state)) throw holdsItself(vertex);
      if (state === undefined) {
        state = this.#makeState(key, vertex, inputs, hold.job.session.tenant);
        this.#foundElsewhere.handOn(state);
        this.#states.set(key, state);
        this.#byContext.set(state.context, state);
      }
      hold.states.add(state);
      state.audience.join(hold, vertex);
      held.set(vertex.digest, state);
      for (const input of inputs) input.state.work.want(input.index);
    }
    for (const { vertex, index } of outputs) held.get(vertex.digest)?.work.want(index);
    return held;
  }

  #makeState(
    key: string,
    vertex: Vertex,
    inputs: VertexState['inputs'],
    tenant: Session['tenant'],
  ): VertexState {
    try {
      return new VertexState(key, vertex, inputs, this.#deps.makeOp, tenant);
    } catch (err) {
      const error = toDrydockError(err, 'llb');
      error.step ??= vertex.name;
      error.vertex ??= vertex.digest;
      noteFailed(error, vertex);
      error.source ??= vertex.source;
      throw error;
    }
  }

  async #letGo(hold: Hold, reason: unknown): Promise<void> {
    const left: VertexState[] = [];
    for (const state of [...hold.states]) {
      if (isDue()) await nextTurn();
      hold.states.delete(state);
      state.audience.leave(hold);
      if (!state.isHeld) left.push(state);
    }
    await Promise.all(left.map((state) => this.#retire(state, reason)));
  }

  /** Stops a state's work and gives up its lease. */
  #retire(state: VertexState, reason: unknown): Promise<void> {
    this.#forget(state);
    const { work } = state;
    return work.retired(async () => {
      work.cancel(reason);
      await Promise.allSettled([work.identity, work.result]);
      this.#foundElsewhere.forget(state);
      if (work.nested !== undefined) await this.release(work.nested);
      await work.cleanUp();
      await this.#results.drop(state);
    });
  }

  /** Keeps new solves from joining a state. */
  #forget(state: VertexState): void {
    if (this.#states.get(state.key) === state) this.#states.delete(state.key);
  }

  #identify(state: VertexState): Promise<Identity> {
    return state.work.identified(() =>
      this.#findIdentity(state).catch((err) => {
        throw this.#fault(state, err);
      }),
    );
  }

  async #findIdentity(state: VertexState): Promise<Identity> {
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
    if (hit) state.audience.mark('cached');
    else if (identity.fresh && !identity.volatile) {
      queueMicrotask(() => void this.#result(state).catch(() => {}));
    } else if (isSource && !identity.volatile) state.audience.settle();
    return identity;
  }

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
    const { id } = identity;
    const work = recordKey(id, state.context.session.tenant);
    let inputs: readonly Ref[] | undefined;
    let isForeign = !identity.volatile && identity.foreign !== undefined;
    for (;;) {
      throwIfAborted(state.work.signal);
      const other = this.#working.get(work);
      if (other !== undefined) {
        if (state.audience.within.includes(other)) throw holdsItself(state.vertex);
        const refs = await this.#follow(state, other);
        if (refs !== undefined) return refs;
        continue;
      }
      // Looked up (again) here: an equal vertex may have been saved since this one was identified.
      let loaded = identity.volatile ? undefined : await this.#results.load(id, state);
      if (loaded === undefined && isForeign) {
        // Once: what is not to be had now is not looked for again when the inputs are there.
        isForeign = false;
        loaded = await this.#results.loadForeign(identity, state, () => this.#anew(state, identity));
      }
      if (loaded !== undefined) {
        if (!state.audience.isCached) state.audience.mark('cached');
        return loaded;
      }
      // The inputs come before the work is claimed: one of them may have the very same identity.
      if (inputs === undefined) {
        inputs = await state.work.orCanceled(
          Promise.all(state.inputs.map((input) => this.#output(input.state, input.index))),
        );
        continue;
      }
      if (this.#working.has(work)) continue;
      this.#working.set(work, state);
      try {
        return await this.#run(state, identity, inputs);
      } finally {
        this.#working.delete(work);
      }
    }
  }

  /** Does a vertex's work although it was a hit: the cache it was in cannot deliver. */
  #anew(state: VertexState, identity: Identity): Promise<readonly Ref[]> {
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

  /**
   * Waits for an equal vertex and takes its result; undefined when that one was cancelled or its result is not what
   * its identity says, and the work is ours.
   */
  async #follow(state: VertexState, other: VertexState): Promise<readonly Ref[] | undefined> {
    if (other.work.signal.aborted) {
      await state.work.orCanceled(Promise.allSettled([other.work.result]));
      return undefined;
    }
    state.audience.mark('started');
    state.audience.follow(other.audience);
    try {
      const refs = await state.work.orCanceled(this.#result(other));
      if (other.work.isTainted) return undefined;
      // It may still have to be made by the other one, which is not there as long as this one.
      for (const ref of refs) {
        if (ref.serialize() !== undefined) continue;
        if (ref instanceof ForeignRef || (await ref.layers())?.where === 'elsewhere') return undefined;
      }
      await this.#results.hold(refs, state);
      state.audience.mark('completed');
      return refs;
    } catch (err) {
      if (!state.work.signal.aborted && err instanceof DrydockError && err.code === 'canceled')
        return undefined;
      throw err;
    } finally {
      state.audience.unfollow(other.audience);
      if (!other.isHeld) await this.#retire(other, state.work.signal.reason);
    }
  }

  async #run(state: VertexState, identity: Identity, inputs: readonly Ref[]): Promise<readonly Ref[]> {
    const { context } = state;
    await this.#results.lease(state);
    if (!state.audience.isStarted) state.audience.mark('started');
    // Should every build let go of the inputs while a follower waits for this result, they must still stay.
    const read = new Set(state.inputs.map((input) => input.state));
    for (const input of read) input.work.beginRead();
    try {
      if (state.vertex.op.op.case !== 'source') this.#stepsRun++;
      const refs = await state.op.exec(inputs, context).catch((err) => this.#borrow(state, err));
      if (identity.volatile) return refs;
      const [size, holds] = await Promise.all([
        this.#results.measure(refs),
        this.#identifier.holds(state, identity, inputs),
      ]);
      const isTainted = !holds || state.inputs.some((input) => input.state.work.isTainted);
      state.work.taint(isTainted);
      if (!isTainted) await this.#results.save(identity, refs, size, state);
      state.audience.mark('completed');
      return refs;
    } finally {
      for (const input of read) input.work.endRead();
      const left = [...read].filter((input) => !input.isHeld);
      await Promise.all(left.map((input) => this.#retire(input, state.work.signal.reason)));
    }
  }

  /**
   * The folder of another build that is running, for a vertex that is the very same and whose own client does not offer
   * it: a client that was handed a piece of another's graph. Only of builds of the same owner.
   */
  async #borrow(state: VertexState, err: unknown): Promise<readonly Ref[]> {
    const { op } = state.vertex.op;
    const isLocal = op.case === 'source' && op.value.identifier.startsWith('local://');
    if (!isLocal || !(err instanceof DrydockError) || err.code !== 'not-found') throw err;
    state.work.borrow();
    for (const other of this.#states.values()) {
      const isSame = other.vertex.digest === state.vertex.digest && !other.work.borrows && other !== state;
      if (!isSame || other.work.signal.aborted) continue;
      if (other.context.session.tenant?.id !== state.context.session.tenant?.id) continue;
      // What it gives is there as long as it is.
      other.work.beginRead();
      state.context.onRelease?.(async () => {
        other.work.endRead();
        if (!other.isHeld) await this.#retire(other, state.work.signal.reason);
      });
      return state.work.orCanceled(this.#result(other));
    }
    throw err;
  }

  /** Marks a vertex as failed, gives its error the step and the Dockerfile line, once, and fails the solves that hold it. */
  #fault(state: VertexState, err: unknown): DrydockError {
    const error = toDrydockError(err, 'solver');
    error.vertex ??= state.vertex.digest;
    noteFailed(error, state.vertex);
    this.#forget(state);
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

/** It would wait for its own end. */
function holdsItself({ name }: Vertex): DrydockError {
  return fail(
    'invalid',
    'llb',
    `the definition that ${JSON.stringify(name)} brings along holds that step itself`,
  );
}

/** Digests of all that outputs are made of. */
function ancestors(outputs: readonly Edge[]): Set<Digest> {
  const seen = new Set<Digest>();
  const queue = outputs.map((edge) => edge.vertex);
  for (let vertex = queue.pop(); vertex !== undefined; vertex = queue.pop()) {
    if (seen.has(vertex.digest)) continue;
    seen.add(vertex.digest);
    for (const input of vertex.inputs) queue.push(input.vertex);
  }
  return seen;
}
