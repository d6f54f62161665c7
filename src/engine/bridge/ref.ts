import type { FsView } from '../../fs/index.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { Ref } from '../../store/index.ts';

/** What a ref asks of its bridge. */
export interface RefSolver {
  solve(definition: Definition): Promise<Ref>;
  open(ref: Ref): Promise<FsView>;
}

/** A tree of a build, solved when it is first needed and held until the build is over. */
export class BridgeRef {
  readonly definition: Definition;
  readonly #solver: RefSolver;
  #result: Promise<Ref> | undefined;
  #view: Promise<FsView> | undefined;

  constructor(definition: Definition, solver: RefSolver) {
    this.definition = definition;
    this.#solver = solver;
  }

  /** The tree. Throws what solving it throws, each time. */
  result(): Promise<Ref> {
    this.#result ??= this.#solver.solve(this.definition);
    return this.#result;
  }

  /** Looks into the tree. */
  view(): Promise<FsView> {
    this.#view ??= this.result().then((ref) => this.#solver.open(ref));
    return this.#view;
  }
}
