/** gRPC on one HTTP/2 connection: frames, status, calls, streams and the limits of servers. */

export { beginAnswer, endAnswer, refuseCall } from './answer.ts';
export { answerUpgrade } from './answer-upgrade.ts';
export { BytesStream } from './bytes-stream.ts';
export { ConnectionLost, GrpcCall } from './call.ts';
export { type CallOptions, GrpcChannel, type Metadata } from './channel.ts';
export { decodeInTurns, decodeShort, together } from './decode.ts';
export { Deframer, frame, frameHead, frameHeaderLength, maxMessage } from './frame.ts';
export { withHead } from './headed-stream.ts';
export { HeldBytes, type Looked } from './held-bytes.ts';
export { takeConnection } from './http2-connection.ts';
export { http2Limits, limitSettings, Turns, widen } from './http2-limits.ts';
export { receivedBytes, sendBytes } from './served-bytes.ts';
export { ServedBytesStream } from './served-bytes-stream.ts';
export { type CallHandler, GrpcServer, requestOf, type ServedCall, unary } from './server.ts';
export {
  ALREADY_EXISTS,
  CANCELLED,
  errorCodeOf,
  GrpcError,
  INVALID_ARGUMENT,
  NOT_FOUND,
  OUT_OF_RANGE,
  statusOf,
  UNAVAILABLE,
  UNIMPLEMENTED,
  UNKNOWN,
} from './status.ts';
export { clipEncoded, messageRoom, trailerRoom, usualTrailers } from './trailer-room.ts';
export { bytesOfWeight, weightOf } from './weight.ts';
