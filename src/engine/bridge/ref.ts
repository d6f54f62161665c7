import type { FsView } from '../../fs/index.ts';
import type { Graph } from '../../llb/index.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { Ref } from '../../store/index.ts';

/** The part of a bridge that its refs use. */
export interface RefSolver {
  solve(definition: Definition): Promise<Solved>;
  open(ref: Ref): Promise<FsView>;
}

/** A solved tree, and its graph; undefined for a tree that existed before. */
interface Solved {
  ref: Ref;
  graph: Graph | undefined;
}

/** A tree of a build. It is solved when it is first needed, and held until the build is over. */
export class BridgeRef {
  readonly definition: Definition;
  readonly #solver: RefSolver;
  #solved: Promise<Solved> | undefined;
  #view: Promise<FsView> | undefined;

  constructor(definition: Definition, solver: RefSolver) {
    this.definition = definition;
    this.#solver = solver;
  }

  /** The solved tree. Rejects each time with the error of solving it. */
  async result(): Promise<Ref> {
    return (await this.#solve()).ref;
  }

  /** The solved graph: the definition under the build's rules. Rejects with the error of solving it. */
  async graph(): Promise<Graph | undefined> {
    return (await this.#solve()).graph;
  }

  /** Opens the solved tree for reading. */
  view(): Promise<FsView> {
    this.#view ??= this.result().then((ref) => this.#solver.open(ref));
    return this.#view;
  }

  #solve(): Promise<Solved> {
    this.#solved ??= this.#solver.solve(this.definition);
    return this.#solved;
  }
}
