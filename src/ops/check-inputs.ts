import { fail } from '../errors/index.ts';
import type { Vertex } from '../solver/index.ts';

/** Throws `invalid` unless each index is an input's, or -1 for the empty tree. */
export function checkInputs(indexes: readonly number[], { inputs }: Vertex, op: string): void {
  for (const index of indexes) {
    if (Number.isInteger(index) && index >= -1 && index < inputs.length) continue;
    throw fail('invalid', 'llb', `invalid input index ${index} in a ${op} of ${inputs.length} inputs`);
  }
}
