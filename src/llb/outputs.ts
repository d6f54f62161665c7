import type { Op } from '../pb/solver/pb/ops_pb.js';

/** How many outputs an op has, as its mounts or actions say. */
export function outputCount({ op }: Op): number {
  if (op.case === 'exec') return 1 + Math.max(-1, ...op.value.mounts.map(({ output }) => Number(output)));
  if (op.case === 'file') return 1 + Math.max(-1, ...op.value.actions.map(({ output }) => Number(output)));
  return 1;
}
