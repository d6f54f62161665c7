/** LLB's MergeOp: the layers of several trees stacked into one, later ones on top. */
import { randomUUID } from 'node:crypto';
import { copyAll, isEmpty, writeSnapshot } from '../apply/snapshot.ts';
import { fail } from '../errors/error.ts';
import { digestOf } from '../oci/digest.ts';
import { refContext } from '../solver/ref-context.ts';
import type { Ref } from '../store/ref.ts';
import type { OpDeps, OpMaker } from './deps.ts';
import { chainOf, restack } from './restack.ts';

/** Layers in one stack, at most. */
const maxLayers = 2048;

export const mergeOp: OpMaker = (vertex, deps) => {
  const { op } = vertex.op;
  if (op.case !== 'merge') throw fail('invalid', 'llb', 'not a merge op');
  const inputs = op.value.inputs.map(({ input }) => Number(input));
  if (inputs.length < 2) throw fail('invalid', 'llb', 'a merge needs at least two inputs');
  for (const input of inputs) {
    if (input < -1 || input >= vertex.inputs.length) {
      throw fail(
        'invalid',
        'llb',
        `invalid input index ${input} in a merge of ${vertex.inputs.length} inputs`,
      );
    }
  }
  return {
    async cacheMap() {
      return { digest: digestOf(`merge 2 ${JSON.stringify(inputs)}`), deps: vertex.inputs.map(() => ({})) };
    },
    async exec(refs, ctx) {
      const parts = inputs.flatMap((input) => (input < 0 ? [] : [refs[input] as Ref]));
      return [
        await mergeRefs(
          parts.filter((ref) => !isEmpty(ref)),
          deps,
          refContext(ctx),
        ),
      ];
    },
  };
};

async function mergeRefs(
  parts: readonly Ref[],
  deps: OpDeps,
  ctx: ReturnType<typeof refContext>,
): Promise<Ref> {
  const [base, ...rest] = parts;
  if (base === undefined) return deps.refs.empty();
  if (rest.length === 0) return base;
  const { snapshots } = deps.store;
  let top = await base.snapshot(ctx);
  let height = snapshots.restack === undefined ? 0 : (await chainOf(deps.store, top)).length;
  for (const part of rest) {
    if (snapshots.restack !== undefined) {
      const layers = await chainOf(deps.store, await part.snapshot(ctx));
      height += layers.length;
      // A tree merged with itself, and the result with itself again, has too many layers for any disk soon.
      if (height > maxLayers) {
        throw fail('unsupported', 'llb', `a merge has more than ${maxLayers} layers`, {
          hint: 'Copy the trees into one another instead.',
        });
      }
      top = (await restack(deps.store, layers, top, ctx)) ?? top;
    } else {
      // Such a store has no layers to stack, only whole trees: the part is copied over.
      const id = randomUUID();
      const what = { name: `merge-${id}`, key: `merge-active-${id}`, parent: top };
      await writeSnapshot(deps.store, { ...what, actions: [copyAll(await part.view(ctx))] }, ctx);
      top = what.name;
    }
  }
  return deps.refs.snapshot(top);
}
