/** What ops work with. */
import type { Cache } from '../cache/cache.ts';
import type { Executor } from '../executor/types.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import type { Refs } from '../refs/types.ts';
import type { OpContext, OpMaker as SolverOpMaker } from '../solver/types.ts';
import type { Ref } from '../store/ref.ts';
import type { Store } from '../store/store.ts';

export interface OpDeps {
  store: Store;
  cache: Cache;
  refs: Refs;
  executor: Executor;
  /** Solves a nested definition (LLB's BuildOp) as part of the build that runs the op. */
  solveNested(definition: Definition, ctx: OpContext): Promise<Ref | undefined>;
}

export type OpMaker = SolverOpMaker<OpDeps>;
