/** LLB's PassthroughOp: returns some of its inputs as they are. */
import { fail } from '../errors/index.ts';
import { digestOf } from '../oci/index.ts';
import type { Ref } from '../store/index.ts';
import type { OpMaker } from './deps.ts';

export const passthroughOp: OpMaker = (vertex) => {
  const { op } = vertex.op;
  if (op.case !== 'passthrough') throw fail('invalid', 'llb', 'not a passthrough op');
  const outputs = op.value.outputs.map(Number);
  for (const input of outputs) {
    if (input < 0 || input >= vertex.inputs.length) {
      throw fail(
        'invalid',
        'llb',
        `invalid input index ${input} in a passthrough of ${vertex.inputs.length} inputs`,
      );
    }
  }
  const { id } = op.value;
  return {
    async cacheMap() {
      return {
        digest: digestOf(`passthrough ${JSON.stringify([id, outputs])}`),
        deps: vertex.inputs.map(() => ({})),
      };
    },
    async exec(refs) {
      return outputs.map((input) => refs[input] as Ref);
    },
  };
};
