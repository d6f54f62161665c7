/**
 * The keys of BuildKit's ops that take each input as a whole: merge, diff, a definition inside a definition, and the op
 * that returns inputs as they are.
 */
import { goMessage } from '../llb/index.ts';
import type { BuildOp, DiffOp, MergeOp, PassthroughOp } from '../pb/solver/pb/ops_pb.js';
import type { OtherKeys } from '../solver/index.ts';
import { digestsOf } from './forms.ts';

export function mergeKeys(op: MergeOp, inputs: number): OtherKeys {
  const ops = digestsOf((form) => ({ Type: 'buildkit.merge.v0', Merge: goMessage(op, form) }));
  return { ops, deps: noDeps(inputs) };
}

export function diffKeys(op: DiffOp, inputs: number): OtherKeys {
  const ops = digestsOf((form) => ({ Type: 'buildkit.diff.v0', Diff: goMessage(op, form) }));
  return { ops, deps: noDeps(inputs) };
}

/** Undefined for an op that has its definition in itself: BuildKit runs only those whose definition is a file of an input. */
export function buildKeys(op: BuildOp, inputs: number): OtherKeys | undefined {
  if (op.def !== undefined) return undefined;
  const ops = digestsOf((form) => ({ Type: 'buildkit.build.v0', Exec: goMessage(op, form) }));
  return { ops, deps: noDeps(inputs) };
}

export function passthroughKeys(op: PassthroughOp, inputs: number): OtherKeys {
  const ops = digestsOf((form) => ({
    Type: 'buildkit.passthrough.v0',
    Passthrough: goMessage(op, form),
  }));
  return { ops, deps: noDeps(inputs) };
}

function noDeps(inputs: number): OtherKeys['deps'] {
  return Array.from({ length: inputs }, () => ({ selector: '' }));
}
