/** The parts of the engine that ops work with. */
import type { Cache } from '../cache/index.ts';
import type { DeviceRegistry } from '../cdi/index.ts';
import type { Emulation } from '../emulation/index.ts';
import type { Executor } from '../executor/index.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import type { Refs } from '../refs/index.ts';
import type { OpContext, OpMaker as SolverOpMaker } from '../solver/index.ts';
import type { Ref, Store } from '../store/index.ts';
import type { LogLimits } from './exec/step-log.ts';

/** The parts of the engine that ops get when they are made. */
export interface OpDeps {
  store: Store;
  cache: Cache;
  refs: Refs;
  executor: Executor;
  devices: DeviceRegistry;
  emulation: Emulation;
  /** The longest time that a step may run, in ms; undefined: as long as it takes. */
  stepTimeout?: number;
  /** How much of a step's output is shown; default: all. */
  stepLog?: LogLimits;
  /** Solves a nested definition (LLB's BuildOp) as part of the build that runs the op. */
  solveNested(definition: Definition, ctx: OpContext): Promise<Ref | undefined>;
}

export type OpMaker = SolverOpMaker<OpDeps>;
