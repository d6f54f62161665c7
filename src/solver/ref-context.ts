import type { RefContext } from '../store/index.ts';
import type { WorkContext } from './types.ts';

/** What a ref is asked with by work for a build. */
export function refContext(ctx: WorkContext): RefContext {
  return {
    signal: ctx.signal,
    lease: ctx.lease,
    report: (id, state) => ctx.progress.report(id, state),
    credentials: (host) => ctx.session.credentials(host),
    mayBeLazy: ctx.session.tenant === undefined,
    offline: ctx.session.offline,
  };
}
