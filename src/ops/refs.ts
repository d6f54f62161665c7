import type { OpContext } from '../solver/types.ts';
import type { Ref, RefContext } from '../store/ref.ts';

/** What a ref is asked with from inside an op. */
export function refContext(ctx: OpContext): RefContext {
  return {
    signal: ctx.signal,
    lease: ctx.lease,
    report: (id, state) => ctx.progress.report(id, state),
    credentials: (host) => ctx.session.credentials(host),
  };
}

/** Whether a ref is the tree with nothing in it. */
export function isEmpty(ref: Ref): boolean {
  return ref.serialize()?.kind === 'empty';
}
