import { DrydockError } from '../errors/index.ts';
import type { Ref } from '../store/index.ts';
import type { OthersDeps } from './follow.ts';
import type { VertexState } from './state.ts';

/**
 * Takes the folder of another build that is running, for a vertex that is the very same and whose own client does not
 * offer it: a client that was handed a piece of another's graph. Only builds of the same tenant lend. The lender stays
 * held until the borrower is retired. Throws `err`, the failure of the vertex itself, when there is nothing to borrow.
 */
export async function borrow(
  state: VertexState,
  err: unknown,
  { states, resultOf }: Pick<OthersDeps, 'states' | 'resultOf'>,
): Promise<readonly Ref[]> {
  const { work } = state;
  const { op } = state.vertex.op;
  const isLocal = op.case === 'source' && op.value.identifier.startsWith('local://');
  if (!isLocal || !(err instanceof DrydockError) || err.code !== 'not-found') throw err;
  work.borrow();
  for (const other of states.values()) {
    if (!lends(other, state)) continue;
    // What it gives is there as long as it is.
    other.work.beginRead();
    work.onRelease(async () => {
      other.work.endRead();
      if (!other.isHeld) await states.retire(other, work.signal.reason);
    });
    return work.orCanceled(resultOf(other));
  }
  throw err;
}

function lends(other: VertexState, state: VertexState): boolean {
  return (
    other !== state &&
    other.vertex.digest === state.vertex.digest &&
    !other.work.borrows &&
    !other.work.signal.aborted &&
    other.context.session.tenant?.id === state.context.session.tenant?.id
  );
}
