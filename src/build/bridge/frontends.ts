import type { BridgeFrontend } from './bridge.ts';
import { dockerfileV0 } from './dockerfile.ts';

/** The frontends that builds may name. What runs frontend images is loaded when one is asked for: few builds do. */
export const frontends: Readonly<Record<string, BridgeFrontend>> = {
  'dockerfile.v0': dockerfileV0,
  async 'gateway.v0'(bridge, request) {
    const { gatewayV0 } = await import('../gateway/image.ts');
    return gatewayV0(bridge, request);
  },
};
