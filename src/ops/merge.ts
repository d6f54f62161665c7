/** LLB's MergeOp: stacks the layers of several trees into one tree, later ones on top. */
import { fail } from '../errors/index.ts';
import { digestOf } from '../oci/index.ts';
import { isEmpty } from '../refs/index.ts';
import { refContext } from '../solver/index.ts';
import { keepTrees, type Ref } from '../store/index.ts';
import { checkInputs } from './check-inputs.ts';
import type { OpMaker } from './deps.ts';

export const mergeOp: OpMaker = (vertex, deps) => {
  const { op } = vertex.op;
  if (op.case !== 'merge') throw fail('invalid', 'llb', 'not a merge op');
  const inputs = op.value.inputs.map(({ input }) => Number(input));
  if (inputs.length < 2) throw fail('invalid', 'llb', 'a merge needs at least two inputs');
  checkInputs(inputs, vertex, 'merge');
  return {
    async cacheMap() {
      return { digest: digestOf(`merge 2 ${JSON.stringify(inputs)}`), deps: vertex.inputs.map(() => ({})) };
    },
    async exec(refs, ctx) {
      const all = inputs.flatMap((input) => (input < 0 ? [] : [refs[input] as Ref]));
      const parts = all.filter((ref) => !isEmpty(ref));
      if (parts.length < 2) return [parts[0] ?? deps.refs.empty()];
      const merged = deps.refs.merge(parts);
      if (merged.serialize() === undefined) {
        // What does not last (a client's folder) is taken while it is there; what another cache has stays there.
        const stay = await Promise.all(
          parts.map(
            async (ref) => ref.serialize() !== undefined || (await ref.layers())?.where === 'elsewhere',
          ),
        );
        if (!stay.every(Boolean)) await merged.snapshot(refContext(ctx));
        // No record will keep the others.
        await keepTrees(deps.store, ctx.lease, parts);
      }
      return [merged];
    },
  };
};
