/** The error of a build in its note: as the history keeps it, without secrets. */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { recordStatus } from '../../engine/index.ts';
import { type Masks, toDrydockError } from '../../errors/index.ts';
import { type Status, StatusSchema } from '../../pb/google/rpc/status_pb.js';
import { maskedError } from '../buildkit/history/masked.ts';

/** A google.rpc.Status in base64. */
export function encodedError(error: unknown, masks: Masks): string {
  const status = maskedError(recordStatus(toDrydockError(error)), masks);
  return Buffer.from(toBinary(StatusSchema, status)).toString('base64');
}

/** The other end. */
export function decodedError(text: string): Status {
  return fromBinary(StatusSchema, Buffer.from(text, 'base64'));
}
