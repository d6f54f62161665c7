/** The keys of BuildKit's merge and diff ops. */
import { goMessage } from '../llb/index.ts';
import type { DiffOp, MergeOp } from '../pb/solver/pb/ops_pb.js';
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

function noDeps(inputs: number): OtherKeys['deps'] {
  return Array.from({ length: inputs }, () => ({ selector: '' }));
}
