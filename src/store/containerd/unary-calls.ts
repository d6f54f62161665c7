/**
 * Calls of one message there and one back on connect's connection. A build makes dozens of them, and with connect's
 * own pipeline of streams and interceptors each takes several times what it takes here.
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
import type { ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import type { Http2SessionManager } from '@connectrpc/connect-node';

/** A message's length comes before it, with a byte that says whether it is compressed. */
export const prefix = 5;

/** Nobody reads them. */
const none = new Headers();

/** The unary calls of a transport. Fails with ConnectErrors: those with a status are the server's. */
export function unaryCalls(sessions: Http2SessionManager): Transport['unary'] {
  return async (method, signal, _timeout, header, input) => {
    const path = `/${method.parent.typeName}/${method.name}`;
    const { trailers, body } = await exchange(
      sessions,
      path,
      header as Record<string, string>,
      framed(toBinary(method.input, create(method.input, input))),
      signal,
    );
    const status = trailers['grpc-status'];
    if (status !== '0') throw failure(trailers);
    if (body.length < prefix || body[0] !== 0 || body.readUInt32BE(1) !== body.length - prefix) {
      throw new ConnectError('the answer is not one message', Code.Internal, { 'grpc-status': '13' });
    }
    return {
      stream: false,
      service: method.parent,
      method,
      header: none,
      trailer: none,
      message: fromBinary(method.output, body.subarray(prefix)),
    };
  };
}

function framed(message: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(prefix + message.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, prefix);
  return bytes;
}

/** Starts a call. Throws a ConnectError when there is no connection. */
export async function openCall(
  sessions: Http2SessionManager,
  path: string,
  header: Record<string, string>,
): Promise<ClientHttp2Stream> {
  const headers = { ...header, 'content-type': 'application/grpc+proto', te: 'trailers' };
  return sessions.request('POST', path, headers, {}).catch((err) => {
    throw broken(err);
  });
}

async function exchange(
  sessions: Http2SessionManager,
  path: string,
  header: Record<string, string>,
  request: Buffer,
  signal: AbortSignal | undefined,
): Promise<{ trailers: IncomingHttpHeaders; body: Buffer }> {
  const stream = await openCall(sessions, path, header);
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let trailers: IncomingHttpHeaders | undefined;
    let cause: unknown;
    stream.on('response', (response) => {
      // An answer without a message is one block of headers.
      if (response['grpc-status'] !== undefined) trailers = response;
      else if (response[':status'] !== 200) cause = new Error(`HTTP status ${response[':status']}`);
    });
    stream.on('trailers', (last) => {
      trailers = last;
    });
    stream.on('data', (chunk: Buffer) => parts.push(chunk));
    stream.on('error', (err) => {
      cause = err;
    });
    stream.on('close', () => {
      if (trailers?.['grpc-status'] === undefined) reject(broken(cause));
      else resolve({ trailers, body: parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts) });
    });
    if (signal?.aborted) stream.close();
    stream.end(request);
  });
}

/** What the server says went wrong. */
export function failure(trailers: IncomingHttpHeaders): ConnectError {
  const status = String(trailers['grpc-status']);
  const text = decode(String(trailers['grpc-message'] ?? ''));
  return new ConnectError(text, Number(status) as Code, { 'grpc-status': status });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The connection is gone, or there never was one. */
export function broken(cause: unknown): ConnectError {
  if (cause instanceof ConnectError) return cause;
  const why = cause instanceof Error ? cause.message : 'the call was broken off';
  return new ConnectError(why, Code.Unavailable, undefined, undefined, cause);
}
