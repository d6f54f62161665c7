/** LLB's DiffOp: the changes, deletions included, that must be laid over `lower` to get `upper`. */
import { randomUUID } from 'node:crypto';
import { fail } from '../errors/index.ts';
import { specOfMounts } from '../fs/index.ts';
import { digestOf } from '../oci/index.ts';
import { chainOf, isEmpty, restack } from '../refs/index.ts';
import { refContext } from '../solver/index.ts';
import type { Ref, RefContext } from '../store/index.ts';
import { runTask } from '../workers/index.ts';
import { checkInputs } from './check-inputs.ts';
import type { OpDeps, OpMaker } from './deps.ts';

export const diffOp: OpMaker = (vertex, deps) => {
  const { op } = vertex.op;
  if (op.case !== 'diff') throw fail('invalid', 'llb', 'not a diff op');
  const lower = Number(op.value.lower?.input ?? -1);
  const upper = Number(op.value.upper?.input ?? -1);
  checkInputs([lower, upper], vertex, 'diff');
  return {
    async cacheMap() {
      return {
        digest: digestOf(`diff 2 ${JSON.stringify([lower, upper])}`),
        deps: vertex.inputs.map(() => ({})),
      };
    },
    async exec(refs, ctx) {
      const pick = (input: number) => {
        const ref = input < 0 ? undefined : refs[input];
        return ref === undefined || isEmpty(ref) ? undefined : ref;
      };
      return [await diffRefs(pick(lower), pick(upper), deps, refContext(ctx))];
    },
  };
};

async function diffRefs(
  lower: Ref | undefined,
  upper: Ref | undefined,
  deps: OpDeps,
  ctx: RefContext,
): Promise<Ref> {
  if (lower === undefined) return upper ?? deps.refs.empty();
  if (upper !== undefined && deps.store.snapshots.restack !== undefined) {
    const [below, whole] = await Promise.all([
      lower.snapshot(ctx).then((key) => chainOf(deps.store, key)),
      upper.snapshot(ctx).then((key) => chainOf(deps.store, key)),
    ]);
    if (below.every((key, i) => key === whole[i])) {
      const top = await restack(deps.store, whole.slice(below.length), undefined, ctx);
      return top === undefined ? deps.refs.empty() : deps.refs.snapshot(top);
    }
  }
  return compared(lower, upper, deps, ctx);
}

/** One layer with all differences between two trees that do not stand on each other. */
async function compared(lower: Ref, upper: Ref | undefined, deps: OpDeps, ctx: RefContext): Promise<Ref> {
  const { snapshots } = deps.store;
  const [below, above] = await Promise.all([
    lower.view(ctx),
    upper?.view(ctx) ?? ({ kind: 'empty' } as const),
  ]);
  const id = randomUUID();
  const key = `diff-active-${id}`;
  const target = specOfMounts(await snapshots.prepare(key, undefined, { lease: ctx.lease }));
  try {
    const dir = target.kind === 'layers' ? target.dirs[0] : undefined;
    if (dir === undefined) throw fail('internal', 'store', `snapshot ${key} has no folder to write to`);
    await runTask('ops.diff', { lower: below, upper: above, dir }, { signal: ctx.signal });
    await snapshots.commit(`diff-${id}`, key, { lease: ctx.lease });
  } catch (err) {
    await snapshots.remove(key).catch(() => {});
    throw err;
  }
  return deps.refs.snapshot(`diff-${id}`);
}
