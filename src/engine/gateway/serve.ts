/** Serves a gateway to one frontend over a connection that is there already: HTTP/2 on its bytes. */
import { createServer } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { Interceptor } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { http2Limits, limitSettings, maxMessage } from '../../grpc/index.ts';
import { LLBBridge } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { encodeError } from './encode.ts';
import type { Gateway } from './gateway.ts';
import { takeAnyBytes } from './strings.ts';

takeAnyBytes();

/** The largest block of headers or trailers that is sent, in bytes: the details of an error hold the Dockerfile. */
export const maxHeaders = 1 << 20;

/** An interceptor that gives the failures of calls and streams their typed details. */
export function encodingErrors(): Interceptor {
  return (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) return response;
      const { message } = response;
      const encoded = async function* () {
        try {
          yield* message;
        } catch (err) {
          throw encodeError(err);
        }
      };
      return { ...response, message: encoded() };
    } catch (err) {
      throw encodeError(err);
    }
  };
}

/** Serves until the connection is over, and resolves then. The caller closes it: `connection.destroy()`. */
export function serveGateway(gateway: Gateway, connection: Duplex): Promise<void> {
  const handler = connectNodeAdapter({
    routes: (router) => router.service(LLBBridge, gateway.service),
    interceptors: [encodingErrors()],
    readMaxBytes: maxMessage,
    grpcWeb: false,
    connect: false,
  });
  const server = createServer(
    {
      ...http2Limits,
      settings: { initialWindowSize: 1 << 20, maxConcurrentStreams: 1024, maxHeaderListSize: maxHeaders },
      maxSendHeaderBlockLength: maxHeaders,
    },
    handler,
  );
  limitSettings(server);
  server.on('sessionError', () => connection.destroy());
  server.emit('connection', connection);
  return new Promise((resolve) => {
    connection.once('close', () => resolve());
    connection.once('error', () => {});
  });
}
