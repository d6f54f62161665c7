import type { FsView } from '../../fs/index.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { Ref } from '../../store/index.ts';

/** The part of a bridge that its refs use. */
export interface RefSolver {
  solve(definition: Definition): Promise<Ref>;
  open(ref: Ref): Promise<FsView>;
}

/** A tree of a build. It is solved when it is first needed, and held until the build is over. */
export class BridgeRef {
  readonly definition: Definition;
  readonly #solver: RefSolver;
  #result: Promise<Ref> | undefined;
  #view: Promise<FsView> | undefined;

  constructor(definition: Definition, solver: RefSolver) {
    this.definition = definition;
    this.#solver = solver;
  }

  /** The solved tree. Rejects each time with the error of solving it. */
  result(): Promise<Ref> {
    this.#result ??= this.#solver.solve(this.definition);
    return this.#result;
  }

  /** Opens the solved tree for reading. */
  view(): Promise<FsView> {
    this.#view ??= this.result().then((ref) => this.#solver.open(ref));
    return this.#view;
  }
}
