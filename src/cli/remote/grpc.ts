import type { Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { Endpoint } from './endpoint.ts';

/** A transport for clients of BuildKit's API at a daemon. Calls need the endpoint's headers. */
export function grpcTo(endpoint: Endpoint): Transport {
  return createGrpcTransport({
    baseUrl: 'http://localhost',
    nodeOptions: { createConnection: () => endpoint.dial('h2') },
  });
}
