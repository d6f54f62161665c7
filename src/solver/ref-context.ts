import type { RefContext } from '../store/ref.ts';
import type { OpContext } from './types.ts';

/** What a ref is asked with from inside an op. */
export function refContext(ctx: OpContext): RefContext {
  return {
    signal: ctx.signal,
    lease: ctx.lease,
    report: (id, state) => ctx.progress.report(id, state),
    credentials: (host) => ctx.session.credentials(host),
  };
}
