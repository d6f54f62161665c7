/**
 * Calls of one message there and one back on connect's connection. A build makes dozens of them, and with connect's
 * own pipeline of streams and interceptors each takes several times what it takes here.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import type { Http2SessionManager } from '@connectrpc/connect-node';
import { ConnectionLost, GrpcCall, GrpcError } from '../../grpc/index.ts';

/** Bytes of an answer, at most: what gRPC's framing can say, for containerd's own limit is the lower. */
export const largestAnswer = 2 ** 32 - 1;

/** Nobody reads them. */
const none = new Headers();

/** The unary calls of a transport. Fails with ConnectErrors: those with a status are the server's. */
export function unaryCalls(sessions: Http2SessionManager): Transport['unary'] {
  return async (method, signal, _timeout, header, input) => {
    const path = `/${method.parent.typeName}/${method.name}`;
    const request = toBinary(method.input, create(method.input, input));
    const call = await openCall(sessions, path, header as Record<string, string>);
    if (signal?.aborted) call.cancel();
    const answer = await call.exchange(request, largestAnswer).catch((err) => {
      throw connectError(err);
    });
    return {
      stream: false,
      service: method.parent,
      method,
      header: none,
      trailer: none,
      message: fromBinary(method.output, answer),
    };
  };
}

/** Starts a call. Throws a ConnectError when there is no connection. */
export async function openCall(
  sessions: Http2SessionManager,
  path: string,
  header: Record<string, string>,
): Promise<GrpcCall> {
  const headers = { ...header, 'content-type': 'application/grpc+proto', te: 'trailers' };
  try {
    return new GrpcCall(await sessions.request('POST', path, headers, {}));
  } catch (err) {
    throw broken(err);
  }
}

/** What a call failed with, as those read it who tell what containerd said from a connection that broke off. */
export function connectError(err: unknown): ConnectError {
  if (err instanceof ConnectError) return err;
  if (err instanceof ConnectionLost) return broken(err.cause ?? err);
  const { code, message } =
    err instanceof GrpcError ? err : { code: Code.Internal, message: `no answer of gRPC: ${String(err)}` };
  return new ConnectError(message, code as Code, { 'grpc-status': String(code) });
}

/** The connection is gone, or there never was one. */
export function broken(cause: unknown): ConnectError {
  if (cause instanceof ConnectError) return cause;
  const why = cause instanceof Error ? cause.message : 'the call was broken off';
  return new ConnectError(why, Code.Unavailable, undefined, undefined, cause);
}
