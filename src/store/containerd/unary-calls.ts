/**
 * Unary calls on connect's connection: one message there, one back. A build makes dozens of them, and with connect's
 * own pipeline of streams and interceptors each takes several times as long.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import type { Http2SessionManager } from '@connectrpc/connect-node';
import { ConnectionLost, GrpcCall, GrpcError } from '../../grpc/index.ts';

/** The largest answer in bytes: the limit of gRPC's framing, for containerd's own limit is lower. */
export const largestAnswer = 2 ** 32 - 1;

/** Nobody reads these headers. */
const none = new Headers();

/** The unary calls of a transport. They fail with ConnectErrors; those with a status are the server's. */
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

/**
 * Turns a call's failure into a ConnectError, for callers that tell containerd's own errors from a broken connection.
 */
export function connectError(err: unknown): ConnectError {
  if (err instanceof ConnectError) return err;
  if (err instanceof ConnectionLost) return broken(err.cause ?? err);
  const { code, message } =
    err instanceof GrpcError ? err : { code: Code.Internal, message: `no answer of gRPC: ${String(err)}` };
  return new ConnectError(message, code as Code, { 'grpc-status': String(code) });
}

/** The error of a connection that is gone, or never was. */
export function broken(cause: unknown): ConnectError {
  if (cause instanceof ConnectError) return cause;
  const why = cause instanceof Error ? cause.message : 'the call was broken off';
  return new ConnectError(why, Code.Unavailable, undefined, undefined, cause);
}
