import type { Op } from '../pb/solver/pb/ops_pb.js';

/** The number of an op's outputs, according to its mounts, its actions or its own list. */
export function outputCount({ op }: Op): number {
  if (op.case === 'exec') return 1 + Math.max(-1, ...op.value.mounts.map(({ output }) => Number(output)));
  if (op.case === 'file') return 1 + Math.max(-1, ...op.value.actions.map(({ output }) => Number(output)));
  if (op.case === 'passthrough') return op.value.outputs.length;
  return 1;
}
