/** Keeps the number of steps that run at a time within a limit. */
import { Limiter } from '../flow/index.ts';
import type { OpFactory } from '../solver/index.ts';

/** The ops that do no work themselves. One that waits for a graph of its own would hold up the steps it waits for. */
const free: ReadonlySet<string | undefined> = new Set(['build', 'passthrough']);

/** Makes the same ops, of which at most `limit` run at one time, over all builds. */
export function limitedOps(makeOp: OpFactory, limit: number): OpFactory {
  const limiter = new Limiter(limit);
  return (vertex) => {
    const op = makeOp(vertex);
    if (free.has(vertex.op.op.case)) return op;
    return {
      cacheMap: (ctx) => op.cacheMap(ctx),
      expect: () => op.expect?.() ?? (() => {}),
      exec: (inputs, ctx) => limiter.run(() => op.exec(inputs, ctx), ctx.signal),
    };
  };
}
