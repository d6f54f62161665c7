/** Makes a state from a definition that another program has marshalled, such as a frontend's input. */
import type { Definition, Op as PbOp } from '../pb/solver/pb/ops_pb.js';
import { loadGraph } from './graph.ts';
import type { InputTable, OpNode, OpOptions, Output } from './op.ts';
import { create, OpSchema } from './pb.ts';
import { State, scratch } from './state.ts';
import type { Vertex } from './vertex.ts';

/** Returns the output of a definition as a state. Throws `invalid` (hop `llb`) on a definition that is not sound. */
export function fromDefinition(definition: Definition): State {
  const { vertices, output } = loadGraph(definition);
  if (output === undefined) return scratch();
  const nodes = new Map<Vertex, WireNode>();
  for (const vertex of vertices) {
    const inputs = vertex.inputs.map((input) => ({
      node: nodes.get(input.vertex) as WireNode,
      index: input.index,
    }));
    nodes.set(vertex, new WireNode(vertex, inputs));
  }
  return new State({ node: nodes.get(output.vertex) as WireNode, index: output.index });
}

/** An op that exists already; its digest stays as it was. */
class WireNode implements OpNode {
  readonly options: OpOptions;
  readonly caps: readonly string[];
  readonly #op: PbOp;
  readonly #inputs: readonly Output[];

  constructor({ op, metadata, source }: Vertex, inputs: readonly Output[]) {
    this.#op = op;
    this.#inputs = inputs;
    this.caps = Object.keys(metadata?.caps ?? {});
    this.options = {
      description: metadata?.description,
      ignoreCache: metadata?.ignoreCache,
      progressGroup: metadata?.progressGroup,
      location: source,
    };
  }

  inputs(): readonly Output[] {
    return this.#inputs;
  }

  encode(inputs: InputTable): PbOp {
    for (const input of this.#inputs) inputs.append(input);
    return create(OpSchema, {
      op: this.#op.op,
      platform: this.#op.platform,
      constraints: this.#op.constraints,
      $unknown: this.#op.$unknown,
    });
  }
}
