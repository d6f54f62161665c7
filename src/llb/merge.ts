import type { Op as PbOp } from '../pb/solver/pb/ops_pb.js';
import { constraints } from './message.ts';
import type { InputTable, OpNode, OpOptions, OutputRef } from './op.ts';
import { create, OpSchema } from './pb.ts';
import { type State, scratch } from './state.ts';

class MergeNode implements OpNode {
  readonly caps = ['mergeop'];
  readonly options: OpOptions;
  readonly #layers: readonly OutputRef[];

  constructor(layers: readonly OutputRef[], options: OpOptions) {
    this.#layers = layers;
    this.options = options;
  }

  inputs(): readonly OutputRef[] {
    return this.#layers;
  }

  encode(inputs: InputTable): PbOp {
    const list = this.#layers.map((layer) => ({ input: BigInt(inputs.append(layer)) }));
    return create(OpSchema, { op: { case: 'merge', value: { inputs: list } }, constraints: constraints() });
  }
}

/**
 * Lays trees over one another, the last one on top, without copying. Empty trees are left out. Environment and working
 * directory are those of the first tree.
 */
export function merge(states: readonly State[], options: OpOptions = {}): State {
  const layers = states.filter((state) => state.output !== undefined);
  const first = layers[0];
  if (first === undefined) return scratch();
  if (layers.length === 1) return first;
  const node = new MergeNode(
    layers.map((state) => state.output),
    options,
  );
  return first.withOutput({ node, index: 0 });
}

class DiffNode implements OpNode {
  readonly caps = ['diffop'];
  readonly options: OpOptions;
  readonly #lower: OutputRef;
  readonly #upper: OutputRef;

  constructor(lower: OutputRef, upper: OutputRef, options: OpOptions) {
    this.#lower = lower;
    this.#upper = upper;
    this.options = options;
  }

  inputs(): OutputRef[] {
    return [this.#lower, this.#upper];
  }

  encode(inputs: InputTable): PbOp {
    const lower = { input: BigInt(inputs.append(this.#lower)) };
    const upper = { input: BigInt(inputs.append(this.#upper)) };
    return create(OpSchema, { op: { case: 'diff', value: { lower, upper } }, constraints: constraints() });
  }
}

/** The layer between two trees: everything that `upper` has and `lower` has not. */
export function diff(lower: State, upper: State, options: OpOptions = {}): State {
  if (lower.output === undefined) return upper;
  return lower.withOutput({ node: new DiffNode(lower.output, upper.output, options), index: 0 });
}
