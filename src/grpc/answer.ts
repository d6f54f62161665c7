/** The server's side of an answer's beginning and end. */
import { constants, type Http2ServerResponse, type ServerHttp2Stream } from 'node:http2';
import { type CallStatus, encodeMessage, OK } from './status.ts';
import { clipEncoded, messageRoom, trailerRoom, usualTrailers } from './trailer-room.ts';

/** The headers of every answer. */
export const answerHeaders = { ':status': 200, 'content-type': 'application/grpc' } as const;

/**
 * The headers that tell how a call ended: its trailers, or the whole answer when it has no messages.
 * The middle of a long message is left out; `room`: the bytes that the peer takes.
 */
export function statusHeaders(
  { code, message }: CallStatus,
  room = usualTrailers,
): Record<'grpc-status' | 'grpc-message', string> {
  const clipped = clipEncoded(message, messageRoom(room), encodeMessage);
  return { 'grpc-status': String(code), 'grpc-message': encodeMessage(clipped) };
}

/** Ends a call before it has begun, with a status alone, and does not wait for the client's further bytes. */
export function refuseCall(stream: ServerHttp2Stream, code: number, message: string): void {
  if (stream.destroyed) return;
  stream.respond(
    { ...answerHeaders, ...statusHeaders({ code, message }, trailerRoom(stream.session)) },
    { endStream: true },
  );
  // A reset in the same turn as the call would leave before the answer.
  setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
}

/** Begins the answer to a call that came through Node's requests and responses. */
export function beginAnswer(response: Http2ServerResponse): void {
  response.writeHead(200, { 'content-type': answerHeaders['content-type'] });
}

/** Ends such an answer; without a status, successfully. */
export function endAnswer(response: Http2ServerResponse, status?: CallStatus): void {
  const room = trailerRoom(response.stream.session);
  response.addTrailers(status === undefined ? { 'grpc-status': String(OK) } : statusHeaders(status, room));
  response.end();
}
