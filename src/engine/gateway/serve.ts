/** Serves a gateway to one frontend over a connection that is there already: HTTP/2 on its bytes. */
import { createServer, type Http2ServerRequest } from 'node:http2';
import type { Duplex } from 'node:stream';
import {
  type ContextValues,
  createContextKey,
  createContextValues,
  type Interceptor,
} from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import {
  HeldBytes,
  http2Limits,
  limitSettings,
  maxMessage,
  refuseCall,
  statusOf,
  trailerRoom,
  usualTrailers,
} from '../../grpc/index.ts';
import { LLBBridge } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { encodeError } from './encode.ts';
import type { Gateway } from './gateway.ts';
import { apartValues, lookAt, withMessages } from './looked-at.ts';
import { takeAnyBytes } from './strings.ts';

takeAnyBytes();

/** The bytes of trailers that the client of a call takes. */
const roomKey = createContextKey(usualTrailers, { description: "room for a failure's details" });

/** The values of a call that `encodingErrors` and `withMessages` read. */
export function callValues(request: object): ContextValues {
  const room = trailerRoom((request as Http2ServerRequest).stream.session);
  return apartValues(request, createContextValues().set(roomKey, room));
}

/** An interceptor that gives the failures of calls and streams their typed details, as many as the client takes. */
export function encodingErrors(): Interceptor {
  return (next) => async (request) => {
    const room = request.contextValues.get(roomKey);
    try {
      const response = await next(request);
      if (!response.stream) return response;
      const { message } = response;
      const encoded = async function* () {
        try {
          yield* message;
        } catch (err) {
          throw encodeError(err, room);
        }
      };
      return { ...response, message: encoded() };
    } catch (err) {
      throw encodeError(err, room);
    }
  };
}

/** Serves until the connection is over, and resolves then. The caller closes it: `connection.destroy()`. */
export function serveGateway(gateway: Gateway, connection: Duplex): Promise<void> {
  const handler = connectNodeAdapter({
    routes: (router) => router.service(LLBBridge, gateway.service),
    interceptors: [encodingErrors(), withMessages()],
    readMaxBytes: maxMessage,
    acceptCompression: [],
    grpcWeb: false,
    connect: false,
    contextValues: callValues,
  });
  const methods = new Map(
    LLBBridge.methods.map((method) => [`/${LLBBridge.typeName}/${method.name}`, method]),
  );
  const held = new HeldBytes();
  const server = createServer(
    {
      ...http2Limits,
      settings: { initialWindowSize: 1 << 20, maxConcurrentStreams: 1024, maxHeaderListSize: 1 << 20 },
    },
    (request, response) => {
      try {
        const method = methods.get(request.url);
        if (method !== undefined) lookAt(request, method, held, '');
      } catch (err) {
        const { code, message } = statusOf(err);
        return refuseCall(request.stream, code, message);
      }
      handler(request, response);
    },
  );
  limitSettings(server);
  server.on('sessionError', () => connection.destroy());
  server.emit('connection', connection);
  return new Promise((resolve) => {
    connection.once('close', () => resolve());
    connection.once('error', () => {});
  });
}
