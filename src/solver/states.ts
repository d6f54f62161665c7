import { fail, throwIfAborted, toDrydockError } from '../errors/index.ts';
import type { Digest } from '../oci/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';
import { noteFailed } from './failed-vertex.ts';
import type { FoundElsewhere } from './found-elsewhere.ts';
import { Hold } from './hold.ts';
import type { Job } from './job.ts';
import { type Apart, workKey } from './keys.ts';
import { holdsItself } from './nesting.ts';
import type { ResultStore } from './results.ts';
import { VertexState } from './state.ts';
import type { Edge, OpContext, OpFactory, Vertex } from './types.ts';

/** Why what nobody holds any more is stopped: one for all, as each would cost more than the rest of letting go. */
const released = new DOMException('the build is over', 'AbortError');

interface StatesDeps {
  makeOp: OpFactory;
  results: ResultStore;
  foundElsewhere: FoundElsewhere;
}

/**
 * The vertices at work in a solver.
 *
 * A vertex comes in when a solve needs one that is not there; other solves that need the same join it. It is forgotten,
 * so that a new solve begins it anew, when it fails or when nobody is left that holds it. In the second case it is
 * retired as well: its work is stopped, and what the work has kept is given up. This class alone says who holds which
 * vertex: it writes `Job.holds` and `Hold.states`.
 */
export class VertexStates {
  readonly #deps: StatesDeps;
  /** Those that a new solve may join, by work key. */
  readonly #states = new Map<string, VertexState>();
  readonly #byContext = new WeakMap<OpContext, VertexState>();

  constructor(deps: StatesDeps) {
    this.#deps = deps;
  }

  /** Those that a new solve may join. */
  values(): Iterable<VertexState> {
    return this.#states.values();
  }

  /** The vertex whose op was given a context. */
  byContext(ctx: OpContext): VertexState | undefined {
    return this.#byContext.get(ctx);
  }

  /** All that a build holds. */
  heldBy(job: Job): ReadonlySet<VertexState> {
    return new Set([...job.holds].flatMap((hold) => [...hold.states]));
  }

  /** Begins a solve of a build; it lasts until `letGo`, or until the build is released. */
  begin(job: Job): Hold {
    const hold = new Hold(job);
    job.holds.add(hold);
    return hold;
  }

  /**
   * Has a solve hold all vertices that the outputs need, made where they are not there. Returns them by digest, inputs
   * first. Throws `invalid` for a definition that holds the step it is nested in, and what making an op throws.
   */
  async join(
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
      const state = this.#find(vertex, inputs, hold.job);
      hold.states.add(state);
      state.audience.join(hold, vertex);
      held.set(vertex.digest, state);
      for (const input of inputs) input.state.work.want(input.index);
    }
    for (const { vertex, index } of outputs) held.get(vertex.digest)?.work.want(index);
    return held;
  }

  /** The state that stands for a vertex of a build, new or not. */
  #find(vertex: Vertex, inputs: VertexState['inputs'], job: Job): VertexState {
    const key = workKey(
      vertex,
      job,
      inputs.map((input) => input.state.key),
    );
    const known = this.#states.get(key);
    // A state whose input failed or was given up meanwhile is about to fail as well: start anew.
    if (known?.inputs.every((input, i) => input.state === inputs[i]?.state)) {
      if (job.within.includes(known)) throw holdsItself(vertex);
      return known;
    }
    const state = this.#make(key, vertex, inputs, job.session);
    this.#deps.foundElsewhere.handOn(state);
    this.#states.set(key, state);
    this.#byContext.set(state.context, state);
    return state;
  }

  #make(key: string, vertex: Vertex, inputs: VertexState['inputs'], of: Apart): VertexState {
    try {
      return new VertexState(key, vertex, inputs, this.#deps.makeOp, of);
    } catch (err) {
      const error = toDrydockError(err, 'llb');
      error.step ??= vertex.name;
      error.vertex ??= vertex.digest;
      noteFailed(error, vertex);
      error.source ??= vertex.source;
      throw error;
    }
  }

  /** Ends a solve, and waits until what nobody else wants has stopped. */
  async letGo(hold: Hold, reason: unknown): Promise<void> {
    hold.job.holds.delete(hold);
    const left: VertexState[] = [];
    for (const state of [...hold.states]) {
      if (isDue()) await nextTurn();
      hold.states.delete(state);
      state.audience.leave(hold);
      if (!state.isHeld) left.push(state);
    }
    const retired: Promise<void>[] = [];
    for (const state of left) {
      if (isDue()) await nextTurn();
      retired.push(this.retire(state, reason));
    }
    await Promise.all(retired);
  }

  /** Ends all solves of a build that is over. */
  async release(job: Job): Promise<void> {
    job.end();
    await Promise.all([...job.holds].map((hold) => this.letGo(hold, job.signal.reason ?? released)));
    if (job.within.length === 0) await job.pins.end();
  }

  /** Stops a vertex's work, once, and gives up what it has kept. To be called when nobody holds the vertex. */
  retire(state: VertexState, reason: unknown): Promise<void> {
    this.forget(state);
    const { work } = state;
    return work.retired(async () => {
      work.cancel(reason);
      await Promise.allSettled([work.identity, work.result]);
      this.#deps.foundElsewhere.forget(state);
      if (work.nested !== undefined) await this.release(work.nested);
      await work.cleanUp();
      await this.#deps.results.drop(state);
    });
  }

  /** Keeps new solves from joining a vertex. */
  forget(state: VertexState): void {
    if (this.#states.get(state.key) === state) this.#states.delete(state.key);
  }
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
