/** Keeps the number of steps that run at a time within a limit. */
import { Limiter } from '../flow/index.ts';
import type { OpFactory } from '../solver/index.ts';

/** Ops that do no work themselves; one that waits for a graph of its own would hold up what it waits for. */
const free: ReadonlySet<string | undefined> = new Set(['build', 'passthrough']);

/** The same ops, of which `limit` run at a time, over all builds. */
export function limitedOps(makeOp: OpFactory, limit: number): OpFactory {
  const limiter = new Limiter(limit);
  return (vertex) => {
    const op = makeOp(vertex);
    if (free.has(vertex.op.op.case)) return op;
    return {
      cacheMap: (ctx) => op.cacheMap(ctx),
      exec: (inputs, ctx) => limiter.run(() => op.exec(inputs, ctx), ctx.signal),
    };
  };
}
