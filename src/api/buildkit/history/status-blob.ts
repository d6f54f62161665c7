/**
 * A build's progress as a blob: StatusResponses, each after its length in four bytes, lowest first. BuildKit's format
 * (`application/vnd.buildkit.status.v0`), which clients that export a build's record take along.
 */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type StatusResponse, StatusResponseSchema } from '../../../pb/moby/buildkit/v1/status_pb.js';

export const statusMediaType = 'application/vnd.buildkit.status.v0';

export function encodeStatus(messages: readonly StatusResponse[]): Buffer {
  return Buffer.concat(
    messages.flatMap((message) => {
      const bytes = toBinary(StatusResponseSchema, message);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}

export function* decodeStatus(blob: Buffer): Generator<StatusResponse, void, undefined> {
  for (let at = 0; at + 4 <= blob.length; ) {
    const end = at + 4 + blob.readUInt32LE(at);
    yield fromBinary(StatusResponseSchema, blob.subarray(at + 4, end));
    at = end;
  }
}
