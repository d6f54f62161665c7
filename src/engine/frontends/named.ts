import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { Frontend } from '../bridge/types.ts';

/** A build by the frontend of a name (`dockerfile.v0`, `gateway.v0`). It throws what `Bridge.solve` throws. */
export function named(
  frontend: string,
  options: Readonly<Record<string, string>>,
  inputs: Readonly<Record<string, Definition>> = {},
): Frontend {
  return (bridge) => bridge.solve({ frontend, options, inputs });
}
