import { gatewayV0 } from '../gateway/image.ts';
import type { BridgeFrontend } from './bridge.ts';
import { dockerfileV0 } from './dockerfile.ts';

/** The frontends that builds may name. */
export const frontends: Readonly<Record<string, BridgeFrontend>> = {
  'dockerfile.v0': dockerfileV0,
  'gateway.v0': gatewayV0,
};
