/** What builds at work have found in foreign caches, for those that are handed a piece of their graph. */
import { hasResults } from './foreign-match.ts';
import { recordKey } from './keys.ts';
import type { VertexState } from './state.ts';
import type { VertexIdentity } from './work.ts';

interface Found {
  identity: VertexIdentity;
  /** All that is wanted of it is to be had. */
  hit: boolean;
}

/**
 * A client that solves a piece of another's graph does so in a session of its own: vertices on a client's folder are
 * not the same ones then, though they may turn out to be equal. What the other build need not make, this one need not
 * either.
 */
export class FoundElsewhere {
  /** Vertices at work that a foreign cache has, by digest and tenant. */
  readonly #states = new Map<string, VertexState>();
  /** By vertex not named yet: the same one of another build, which had found it when this one was made. */
  readonly #handedOn = new Map<VertexState, VertexState>();

  /** Has a new vertex remember one that was handed on to it: the other build may be over before both are known to be equal. */
  handOn(state: VertexState): void {
    const other = this.#states.get(keyOf(state));
    if (other !== undefined) this.#handedOn.set(state, other);
  }

  /** Notes what was found for a vertex, or adds what was found for the one that it was handed on by, if they are equal. */
  async share(state: VertexState, found: Found): Promise<Found> {
    const { identity, hit } = found;
    const other = this.#handedOn.get(state) ?? this.#states.get(keyOf(state));
    this.#handedOn.delete(state);
    if (identity.volatile) return found;
    if (identity.foreign !== undefined) {
      this.#states.set(keyOf(state), state);
      return found;
    }
    const theirs = hit ? undefined : await other?.work.identity?.catch(() => undefined);
    if (theirs?.foreign === undefined || (theirs.shared ?? theirs.id) !== identity.id) return found;
    this.#states.set(keyOf(state), state);
    const { id, shared, keys, foreign, fleet, own } = theirs;
    return {
      identity: { ...identity, id, shared, keys, fresh: false, foreign, fleet, own },
      hit: hasResults(foreign, state.work.wanted),
    };
  }

  /** To be called when a vertex is not at work any more. */
  forget(state: VertexState): void {
    this.#handedOn.delete(state);
    if (this.#states.get(keyOf(state)) === state) this.#states.delete(keyOf(state));
  }
}

function keyOf({ vertex, context }: VertexState): string {
  return recordKey(vertex.digest, context.session);
}
