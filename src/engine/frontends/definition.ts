import type { ImageConfig } from '../../oci/index.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { Frontend } from '../bridge/types.ts';

/**
 * Makes a build of a definition that is there already. An image of it gets `config`, or the host's default without one.
 */
export function definition(given: Definition | undefined, config?: ImageConfig): Frontend {
  const metadata: Record<string, Uint8Array> = {};
  if (config !== undefined) metadata['containerimage.config'] = Buffer.from(JSON.stringify(config));
  return async (bridge) => ({ ref: bridge.ref(given), metadata });
}
