/** Ends a call before it has begun. */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { encodeMessage } from './status.ts';

/** Answers with a status alone; what the client still sends is of no use and is not waited for. */
export function refuseCall(stream: ServerHttp2Stream, code: number, message: string): void {
  if (stream.destroyed) return;
  const headers = {
    ':status': 200,
    'content-type': 'application/grpc',
    'grpc-status': String(code),
    'grpc-message': encodeMessage(message),
  };
  stream.respond(headers, { endStream: true });
  // A reset in the same turn in which the call came would leave before the answer.
  setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
}
