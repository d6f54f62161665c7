/** Calls of LLBBridge to a gateway of this process: the same road that a client elsewhere takes. */
import { duplexPair } from 'node:stream';
import type { Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { Gateway } from './gateway.ts';
import { serveGateway } from './serve.ts';

/** Opens a connection to a gateway. `close` ends it, and the calls on it. */
export function callsTo(gateway: Gateway): { transport: Transport; close(): void } {
  const [ours, theirs] = duplexPair();
  void serveGateway(gateway, theirs);
  const transport = createGrpcTransport({
    baseUrl: 'http://localhost',
    nodeOptions: { createConnection: () => ours },
  });
  return {
    transport,
    close() {
      ours.destroy();
      theirs.destroy();
    },
  };
}
