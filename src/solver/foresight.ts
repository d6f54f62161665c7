/**
 * Asks the fleet ahead. A step's key names the steps below it, so that a chain that is looked up step by step takes as
 * many rounds as it has steps. What a step below will be called can nearly always be told before it is found: by its own
 * key. So all keys that follow from each other are asked for in one round, and what is found later is found there.
 */
import type { Digest } from '../oci/index.ts';
import type { Contents } from './contents.ts';
import type { FleetCache } from './fleet-cache.ts';
import { contentOf, isOwn } from './identify.ts';
import { cacheKey, type KeyInput } from './keys.ts';
import type { SolverDeps } from './solver.ts';
import type { VertexState } from './state.ts';
import type { VertexIdentity } from './work.ts';

/** Wrong guesses cost a question; they are never taken for what a step is. */
export class Foresight {
  readonly #fleet: FleetCache;
  readonly #cache: SolverDeps['cache'];
  readonly #contents: Contents;
  readonly #identify: (state: VertexState) => Promise<VertexIdentity>;
  readonly #ids = new WeakMap<VertexState, Promise<Digest | undefined>>();

  constructor(
    { fleet, cache }: { fleet: FleetCache; cache: SolverDeps['cache'] },
    contents: Contents,
    identify: (state: VertexState) => Promise<VertexIdentity>,
  ) {
    this.#fleet = fleet;
    this.#cache = cache;
    this.#contents = contents;
    this.#identify = identify;
  }

  /** Asks for what the vertices of a build are. Inputs come first. */
  begin(states: Iterable<VertexState>): void {
    for (const state of states) void this.#id(state);
  }

  /** What the users of a vertex will probably be keyed by; undefined: that cannot be told. Never rejects. */
  #id(state: VertexState): Promise<Digest | undefined> {
    let id = this.#ids.get(state);
    if (id === undefined) {
      id = this.#guess(state).catch(() => undefined);
      this.#ids.set(state, id);
    }
    return id;
  }

  async #guess(state: VertexState): Promise<Digest | undefined> {
    const { vertex, context } = state;
    if (vertex.op.op.case === 'source') {
      const { id, volatile, own } = await this.#identify(state);
      return volatile || own ? undefined : id;
    }
    const { tenant, offline } = context.session;
    if (vertex.metadata?.ignoreCache || offline) return undefined;
    // Caches that the build has named come first.
    if ((await state.audience.imports()).length > 0) return undefined;
    const map = await state.cacheMap();
    if (map.volatile || (tenant !== undefined && isOwn(map, tenant))) return undefined;
    const inputs = await Promise.all(state.inputs.map((_, i) => this.#input(state, i)));
    if (inputs.some((input) => input === undefined)) return undefined;
    const named = inputs as KeyInput[];
    const { key } = cacheKey(map, named);
    const here = this.#cache.byKey(key);
    if (here !== undefined) return here.id;
    const asked = this.#fleet.expect(key);
    // A step that is known by contents, too, may be called by these.
    const mayHaveOther = named.some(({ content }, i) => content === undefined && map.deps[i]?.content);
    return mayHaveOther ? asked : key;
  }

  /** How an input is named in the key: by its contents, if it is what a client sends. */
  async #input(state: VertexState, i: number): Promise<KeyInput | undefined> {
    const { state: input, index } = state.inputs[i]!;
    if (input.vertex.op.op.case === 'source') {
      const identity = await this.#identify(input);
      const selectors = identity.volatile ? contentOf(await state.cacheMap(), i, identity) : undefined;
      if (selectors !== undefined)
        return { id: identity.id, index, content: await this.#contents.digest(input, index, selectors) };
    }
    const id = await this.#id(input);
    return id === undefined ? undefined : { id, index };
  }
}
