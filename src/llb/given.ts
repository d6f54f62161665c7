import { fail } from '../errors/index.ts';
import { type Digest, digestOf } from '../oci/index.ts';
import type { Definition, Op as PbOp } from '../pb/solver/pb/ops_pb.js';
import type { OpNode, OpOptions } from './op.ts';
import { fromBinary, OpSchema } from './pb.ts';
import { State, scratch } from './state.ts';

/** A definition that others are made on, taken over op by op as it is. */
export class GivenNode implements OpNode {
  readonly options: OpOptions = {};
  readonly caps = [];
  readonly definition: Definition;
  /** The op that is the output, and the number of ops without the closing one. */
  readonly digest: Digest;
  readonly count: number;

  constructor(definition: Definition, digest: Digest, count: number) {
    this.definition = definition;
    this.digest = digest;
    this.count = count;
  }

  inputs(): [] {
    return [];
  }

  encode(): PbOp {
    throw new Error('a given definition is not encoded');
  }
}

/**
 * The output of a definition as a state to build on. Only its last op is looked at, unlike in `fromDefinition`: what is
 * wrong with the others is found when the new definition is loaded. Throws `invalid` when the last op cannot be decoded.
 */
export function given(definition: Definition | undefined): State {
  const last = definition?.def.at(-1);
  if (definition === undefined || last === undefined) return scratch();
  const count = definition.def.length;
  const { op, inputs } = decoded(last);
  if (op.case !== undefined) return stateOf(new GivenNode(definition, digestOf(last), count), 0);
  const [output] = inputs;
  if (output === undefined) return scratch();
  return stateOf(new GivenNode(definition, output.digest as Digest, count - 1), Number(output.index));
}

function stateOf(node: GivenNode, index: number): State {
  return new State({ node, index });
}

function decoded(bytes: Uint8Array): PbOp {
  try {
    return fromBinary(OpSchema, bytes);
  } catch (cause) {
    throw fail('invalid', 'llb', 'failed to parse llb proto op', { cause });
  }
}
