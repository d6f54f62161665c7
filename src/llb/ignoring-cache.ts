import { digestOf } from '../oci/index.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import { create, fromBinary, OpMetadataSchema, OpSchema } from './pb.ts';

/**
 * A definition whose steps (processes and file actions) are to run whether their results are known or not. Sources stay
 * as they are. Throws what decoding throws for an op that is none.
 */
export function ignoringCache(definition: Definition): Definition {
  const metadata = { ...definition.metadata };
  for (const bytes of definition.def) {
    const { op } = fromBinary(OpSchema, bytes);
    if (op.case !== 'exec' && op.case !== 'file') continue;
    const digest = digestOf(bytes);
    metadata[digest] = { ...(metadata[digest] ?? create(OpMetadataSchema)), ignoreCache: true };
  }
  return { ...definition, metadata };
}
