/** Serves a gateway to one frontend over a connection that is there already: HTTP/2 on its bytes. */
import { createServer } from 'node:http2';
import type { Duplex } from 'node:stream';
import { type Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { LLBBridge } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { statusOf } from '../../session/grpc/status.ts';
import type { Gateway } from './gateway.ts';

/** Largest message either way, bytes, as in BuildKit. */
const maxMessage = 16 << 20;

/** Encodes failures for whoever is at the other end. */
export type EncodeError = (err: unknown) => unknown;

/** A failure as a status alone. */
export const plainError: EncodeError = (err) => {
  if (err instanceof ConnectError) return err;
  const { code, message } = statusOf(err);
  return new ConnectError(message, code as Code, undefined, undefined, err);
};

/** Calls' failures pass through `encode`, those of streams too. */
export function encodingErrors(encode: EncodeError): Interceptor {
  return (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) return response;
      const { message } = response;
      const encoded = async function* () {
        try {
          yield* message;
        } catch (err) {
          throw encode(err);
        }
      };
      return { ...response, message: encoded() };
    } catch (err) {
      throw encode(err);
    }
  };
}

/** Resolves when the connection is over. Closing is the caller's: `connection.destroy()`. */
export function serveGateway(
  gateway: Gateway,
  connection: Duplex,
  encode: EncodeError = plainError,
): Promise<void> {
  const handler = connectNodeAdapter({
    routes: (router) => router.service(LLBBridge, gateway.service),
    interceptors: [encodingErrors(encode)],
    readMaxBytes: maxMessage,
    grpcWeb: false,
    connect: false,
  });
  const server = createServer({ settings: { initialWindowSize: 1 << 20 } }, handler);
  server.on('sessionError', () => connection.destroy());
  server.emit('connection', connection);
  return new Promise((resolve) => {
    connection.once('close', () => resolve());
    connection.once('error', () => {});
  });
}
