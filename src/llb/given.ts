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
  const output = definition && outputOf(definition);
  if (definition === undefined || output === undefined) return scratch();
  const { digest, index, count } = output;
  return new State({ node: new GivenNode(definition, digest, count), index });
}

/**
 * Names the output of a definition: the op, the op's output, and the number of ops without the closing one. Undefined
 * for the empty tree. Throws `invalid` when the last op cannot be decoded.
 */
export function outputOf({ def }: Definition): { digest: Digest; index: number; count: number } | undefined {
  const last = def.at(-1);
  if (last === undefined) return undefined;
  const { op, inputs } = decoded(last);
  if (op.case !== undefined) return { digest: digestOf(last), index: 0, count: def.length };
  const [output] = inputs;
  if (output === undefined) return undefined;
  return { digest: output.digest as Digest, index: Number(output.index), count: def.length - 1 };
}

function decoded(bytes: Uint8Array): PbOp {
  try {
    return fromBinary(OpSchema, bytes);
  } catch (cause) {
    throw fail('invalid', 'llb', 'failed to parse llb proto op', { cause });
  }
}
