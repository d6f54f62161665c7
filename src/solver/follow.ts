import { DrydockError } from '../errors/index.ts';
import type { Ref } from '../store/index.ts';
import { ForeignRef } from './foreign-ref.ts';
import type { ResultStore } from './results.ts';
import type { VertexState } from './state.ts';
import type { VertexStates } from './states.ts';

/** What taking the result of another vertex at work needs. */
export interface OthersDeps {
  states: VertexStates;
  results: ResultStore;
  /** The refs of all outputs of a vertex, made where they are not known. */
  resultOf(state: VertexState): Promise<readonly Ref[]>;
}

/**
 * Waits for a vertex of equal identity that is at work and takes its result, so that equal work found by content is
 * done once. While the vertex follows, it shows the other's progress as its own, and the other stays held for it.
 * Undefined when the other one was cancelled or its result is not what its identity says: the work is the follower's
 * then.
 */
export async function follow(
  state: VertexState,
  other: VertexState,
  { states, results, resultOf }: OthersDeps,
): Promise<readonly Ref[] | undefined> {
  const { audience, work } = state;
  if (other.work.signal.aborted) {
    await work.orCanceled(Promise.allSettled([other.work.result]));
    return undefined;
  }
  audience.mark('started');
  audience.follow(other.audience);
  try {
    const refs = await work.orCanceled(resultOf(other));
    if (other.work.isTainted) return undefined;
    // It may still have to be made by the other one, which is not there as long as this one.
    for (const ref of refs) {
      if (ref.serialize() !== undefined) continue;
      if (ref instanceof ForeignRef || (await ref.layers())?.where === 'elsewhere') return undefined;
    }
    await results.hold(refs, state);
    audience.mark('completed');
    return refs;
  } catch (err) {
    const isOthers = !work.signal.aborted && err instanceof DrydockError && err.code === 'canceled';
    if (isOthers) return undefined;
    throw err;
  } finally {
    audience.unfollow(other.audience);
    if (!other.isHeld) await states.retire(other, work.signal.reason);
  }
}
