/**
 * A build's progress as a blob: StatusResponses, each behind its length in four bytes, the lowest byte first. This is
 * BuildKit's format (`application/vnd.buildkit.status.v0`); clients that export a build's record take it along.
 */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type StatusResponse, StatusResponseSchema } from '../../../pb/moby/buildkit/v1/status_pb.js';

export const statusMediaType = 'application/vnd.buildkit.status.v0';

/** Writes the blob. The work is for `inTurns`. */
export function* encodeStatus(messages: readonly StatusResponse[]): Generator<void, Buffer> {
  const parts: Uint8Array[] = [];
  for (const message of messages) {
    yield;
    const bytes = toBinary(StatusResponseSchema, message);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    parts.push(length, bytes);
  }
  return Buffer.concat(parts);
}

export function* decodeStatus(blob: Buffer): Generator<StatusResponse, void, undefined> {
  for (let at = 0; at + 4 <= blob.length; ) {
    const end = at + 4 + blob.readUInt32LE(at);
    yield fromBinary(StatusResponseSchema, blob.subarray(at + 4, end));
    at = end;
  }
}

/** The same, of a blob that comes in parts. */
export async function* decodeStatusParts(
  parts: AsyncIterable<Buffer>,
): AsyncGenerator<StatusResponse, void, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const part of parts) {
    rest = rest.length === 0 ? part : Buffer.concat([rest, part]);
    const whole = wholeMessages(rest);
    yield* decodeStatus(rest.subarray(0, whole));
    rest = rest.subarray(whole);
  }
}

/** How many bytes the whole messages at the beginning take. */
function wholeMessages(blob: Buffer): number {
  let end = 0;
  while (end + 4 <= blob.length && end + 4 + blob.readUInt32LE(end) <= blob.length) {
    end += 4 + blob.readUInt32LE(end);
  }
  return end;
}
