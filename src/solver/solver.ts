/**
 * The solver: finds what of a graph is cached, runs the rest, each vertex once however many builds hold it.
 *
 * Each vertex is first identified (which cache record is it?), which needs its inputs' identities, and their
 * results only where its key is content-based. A vertex whose identity was never seen before cannot hit, and nor
 * can anything keyed by it: it is run at once, side by side with whatever is still being identified.
 */
import { randomUUID } from 'node:crypto';
import type { Cache } from '../cache/cache.ts';
import { canceled, DrydockError, throwIfAborted, toDrydockError } from '../errors/error.ts';
import type { ContentSelector } from '../fs/view.ts';
import { digestOf } from '../oci/digest.ts';
import type { Digest } from '../oci/types.ts';
import type { Ref, SerializedRef } from '../store/ref.ts';
import type { Store } from '../store/store.ts';
import { contentDigest } from './content.ts';
import type { Job } from './job.ts';
import { cacheKey, type KeyInput } from './keys.ts';
import { ResultStore } from './results.ts';
import { type Identity, VertexState } from './state.ts';
import type { CacheMap, Edge, OpFactory, Vertex } from './types.ts';

export interface SolverDeps {
  store: Store;
  cache: Cache;
  makeOp: OpFactory;
  /** A ref again from what a cache record holds, or undefined when its parts are gone. */
  restore(serialized: SerializedRef, lease: string): Promise<Ref | undefined>;
}

export class Solver {
  readonly #deps: SolverDeps;
  readonly #results: ResultStore;
  readonly #states = new Map<Digest, VertexState>();
  /** States at work, by record id, so that equal work found by content is done once too. */
  readonly #working = new Map<Digest, VertexState>();

  constructor(deps: SolverDeps) {
    this.#deps = deps;
    this.#results = new ResultStore(deps);
  }

  /**
   * Solves edges for a build. Rejects with the first failure after all other work of the build has stopped, or
   * with `canceled` when the build was aborted. `vertices` must be in an order in which inputs come first.
   */
  async solve(job: Job, vertices: readonly Vertex[], outputs: readonly Edge[]): Promise<Ref[]> {
    throwIfAborted(job.signal);
    const wanted = ancestors(outputs);
    const held = new Map<Digest, VertexState>();
    for (const vertex of vertices) {
      if (wanted.has(vertex)) held.set(vertex.digest, this.#hold(job, vertex, held));
    }
    // In input-first order, so that the recursion inside `identify` never goes deeper than one level.
    for (const state of held.values()) void this.#identify(state).catch(() => {});
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => aborted.reject(canceled(job.signal.reason));
    job.signal.addEventListener('abort', onAbort, { once: true });
    try {
      const results = outputs.map(async ({ vertex, index }) => {
        const state = held.get(vertex.digest);
        const ref = state && (await this.#result(state))[index];
        if (ref === undefined) {
          throw new DrydockError(`${vertex.name} has no output ${index}`, { code: 'invalid', hop: 'llb' });
        }
        state?.settle();
        return ref;
      });
      return await Promise.race([Promise.all(results), aborted.promise]);
    } catch (err) {
      job.abort(err);
      const stopped = [...held.values()].filter((state) => this.#letGo(job, state));
      await Promise.allSettled(stopped.flatMap((state) => [state.identity, state.result]));
      throw err;
    } finally {
      job.signal.removeEventListener('abort', onAbort);
      aborted.promise.catch(() => {});
    }
  }

  /** Lets go of all that a build holds; call it once when the build is over. */
  async release(job: Job): Promise<void> {
    const states = [...job.states];
    for (const state of states) this.#letGo(job, state);
    const left = states.filter((state) => state.jobs.size === 0);
    await Promise.allSettled(left.flatMap((state) => [state.identity, state.result]));
    for (const state of left) {
      if (state.leased) {
        state.leased = false;
        await this.#deps.store.leases.delete(state.lease);
      }
    }
  }

  /** What a content digest is over; used for refs outside a solve too. */
  contentDigest(ref: Ref, selectors: readonly ContentSelector[], state: VertexState): Promise<Digest> {
    return contentDigest(this.#deps, ref, selectors, state.context);
  }

  #hold(job: Job, vertex: Vertex, held: Map<Digest, VertexState>): VertexState {
    let state = this.#states.get(vertex.digest);
    if (state === undefined) {
      const inputs = vertex.inputs.map(({ vertex: input, index }) => {
        const inner = held.get(input.digest);
        if (inner === undefined) throw new Error(`vertex ${vertex.digest} comes before its input`);
        return { state: inner, index };
      });
      state = new VertexState(vertex, inputs, this.#deps.makeOp);
      this.#states.set(vertex.digest, state);
    }
    state.join(job);
    return state;
  }

  #letGo(job: Job, state: VertexState): boolean {
    if (!state.leave(job)) return false;
    if (this.#states.get(state.vertex.digest) === state) this.#states.delete(state.vertex.digest);
    return true;
  }

  #identify(state: VertexState): Promise<Identity> {
    state.identity ??= this.#findIdentity(state).catch((err) => {
      throw this.#fault(state, err);
    });
    return state.identity;
  }

  async #findIdentity(state: VertexState): Promise<Identity> {
    const { cache } = this.#deps;
    const isSource = state.inputs.length === 0;
    if (isSource && state.vertex.op.op.case === 'source') state.mark('started');
    const [map, inputs] = await Promise.all([
      state.cacheMap(),
      Promise.all(state.inputs.map((input) => this.#identify(input.state))),
    ]);
    const ignoreCache = state.vertex.metadata?.ignoreCache ?? false;
    const keyInputs: KeyInput[] = state.inputs.map((input, i) => ({
      id: (inputs[i] as Identity).id,
      index: input.index,
    }));
    const byDefinition = cacheKey(map, keyInputs);
    if (map.volatile && isSource) {
      const id = digestOf(`${byDefinition.key} ${randomUUID()}`);
      return { id, fresh: true, volatile: true, hit: false, keys: [] };
    }
    const content = state.inputs.map((_, i) => contentOf(map, i, inputs[i] as Identity));
    const lookUp = !ignoreCache && !inputs.some((input, i) => input.fresh && content[i] === undefined);
    const keys = inputs.some((input) => input.volatile) ? [] : [byDefinition];
    if (lookUp && keys.length > 0) {
      const record = cache.byKey(byDefinition.key);
      if (record !== undefined) return this.#known(state, record.id, record.results !== undefined, keys);
    }
    let id = byDefinition.key;
    if (content.some((selectors) => selectors !== undefined)) {
      const byContent = cacheKey(map, await this.#withContent(state, keyInputs, content));
      keys.push(byContent);
      id = byContent.key;
      const record = lookUp ? cache.byKey(byContent.key) : undefined;
      if (record !== undefined) {
        if (keys.length > 1) cache.alias(byDefinition.key, record.id, byDefinition.parts);
        return this.#known(state, record.id, record.results !== undefined, keys);
      }
    }
    if (ignoreCache) id = digestOf(`${id} ${randomUUID()}`);
    const identity: Identity = {
      id,
      fresh: ignoreCache || !cache.known(id),
      volatile: false,
      hit: false,
      keys,
    };
    if (identity.fresh) queueMicrotask(() => void this.#result(state).catch(() => {}));
    return identity;
  }

  #known(state: VertexState, id: Digest, hit: boolean, keys: Identity['keys']): Identity {
    if (hit) state.mark('cached');
    return { id, fresh: false, volatile: false, hit, keys };
  }

  async #withContent(
    state: VertexState,
    keyInputs: readonly KeyInput[],
    content: readonly (readonly ContentSelector[] | undefined)[],
  ): Promise<KeyInput[]> {
    return Promise.all(
      keyInputs.map(async (input, i) => {
        const selectors = content[i];
        const source = state.inputs[i];
        if (selectors === undefined || source === undefined) return input;
        const ref = (await this.#result(source.state))[source.index];
        if (ref === undefined) {
          throw new DrydockError(`${source.state.vertex.name} has no output ${source.index}`, {
            code: 'invalid',
            hop: 'llb',
          });
        }
        const found = await contentDigest(this.#deps, ref, selectors, source.state.context);
        source.state.settle();
        return { ...input, content: found };
      }),
    );
  }

  #result(state: VertexState): Promise<readonly Ref[]> {
    state.result ??= this.#findResult(state).catch((err) => {
      if (this.#states.get(state.vertex.digest) === state) this.#states.delete(state.vertex.digest);
      throw this.#fault(state, err);
    });
    return state.result;
  }

  async #findResult(state: VertexState): Promise<readonly Ref[]> {
    const identity = await this.#identify(state);
    if (identity.hit) {
      const refs = await this.#results.load(identity.id, state);
      if (refs !== undefined) return refs;
    }
    for (;;) {
      const other = this.#working.get(identity.id);
      if (other === undefined || other === state) break;
      try {
        const refs = await this.#result(other);
        await this.#results.hold(refs, state);
        state.mark('cached');
        return refs;
      } catch (err) {
        // The other build may just have been cancelled; then the work is ours.
        if (!(err instanceof DrydockError && err.code === 'canceled') || state.context.signal.aborted)
          throw err;
        if (this.#working.get(identity.id) === other) this.#working.delete(identity.id);
      }
    }
    this.#working.set(identity.id, state);
    try {
      return await this.#run(state, identity);
    } finally {
      if (this.#working.get(identity.id) === state) this.#working.delete(identity.id);
    }
  }

  async #run(state: VertexState, identity: Identity): Promise<readonly Ref[]> {
    const { context } = state;
    const inputs = await Promise.all(
      state.inputs.map(async ({ state: input, index }) => {
        const ref = (await this.#result(input))[index];
        if (ref === undefined) {
          throw new DrydockError(`${input.vertex.name} has no output ${index}`, {
            code: 'invalid',
            hop: 'llb',
          });
        }
        return ref;
      }),
    );
    throwIfAborted(context.signal);
    await this.#results.lease(state);
    if (!state.isStarted) state.mark('started');
    const refs = await state.op.exec(inputs, context);
    if (!identity.volatile) {
      await this.#results.save(identity, refs, state);
      state.mark('completed');
    }
    return refs;
  }

  /** Marks a vertex as failed and gives its error the step and the Dockerfile line, once. */
  #fault(state: VertexState, err: unknown): DrydockError {
    const error = toDrydockError(err, 'solver');
    if (error.code !== 'canceled' && error.step === undefined) {
      error.step = state.vertex.name;
      error.source ??= state.vertex.source;
      state.mark({ error: error.message });
    } else if (state.isStarted) {
      state.mark({ error: error.code === 'canceled' ? 'CANCELED' : error.message });
    }
    return error;
  }
}

/** The selections by whose content an input may be keyed. A volatile input has no other name, so all of it counts. */
function contentOf(map: CacheMap, i: number, input: Identity): readonly ContentSelector[] | undefined {
  return map.deps[i]?.content ?? (input.volatile ? [{ path: map.deps[i]?.selector || '/' }] : undefined);
}

function ancestors(outputs: readonly Edge[]): Set<Vertex> {
  const seen = new Set<Vertex>();
  const queue = outputs.map((edge) => edge.vertex);
  for (let vertex = queue.pop(); vertex !== undefined; vertex = queue.pop()) {
    if (seen.has(vertex)) continue;
    seen.add(vertex);
    for (const input of vertex.inputs) queue.push(input.vertex);
  }
  return seen;
}
