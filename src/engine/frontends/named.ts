import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { Frontend } from '../bridge/types.ts';

/**
 * Makes a build by a frontend that has a name (`dockerfile.v0`, `gateway.v0`). The build throws the errors of
 * `Bridge.solve`.
 */
export function named(
  frontend: string,
  options: Readonly<Record<string, string>>,
  inputs: Readonly<Record<string, Definition>> = {},
): Frontend {
  return (bridge) => bridge.solve({ frontend, options, inputs });
}
