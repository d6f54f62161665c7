/** gRPC's status codes and their form in headers. https://grpc.io/docs/guides/status-codes/ */
import type { IncomingHttpHeaders } from 'node:http2';
import { DrydockError, type ErrorCode } from '../errors/index.ts';

export const OK = 0;
export const CANCELLED = 1;
export const UNKNOWN = 2;
export const INVALID_ARGUMENT = 3;
export const NOT_FOUND = 5;
export const ALREADY_EXISTS = 6;
const PERMISSION_DENIED = 7;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const ABORTED = 10;
export const OUT_OF_RANGE = 11;
export const UNIMPLEMENTED = 12;
const INTERNAL = 13;
export const UNAVAILABLE = 14;
const DATA_LOSS = 15;
const UNAUTHENTICATED = 16;

/** The end of a call. */
export interface CallStatus {
  /** One of the codes above. */
  code: number;
  /** The message of a failure. */
  message: string;
}

/** The error of a call that its server ended with another status than OK. */
export class GrpcError extends Error {
  override readonly name = 'GrpcError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const kinds: Partial<Record<number, ErrorCode>> = {
  [CANCELLED]: 'unavailable',
  [UNKNOWN]: 'invalid',
  [INVALID_ARGUMENT]: 'invalid',
  [NOT_FOUND]: 'not-found',
  [ALREADY_EXISTS]: 'exists',
  [PERMISSION_DENIED]: 'denied',
  [RESOURCE_EXHAUSTED]: 'exhausted',
  [FAILED_PRECONDITION]: 'conflict',
  [ABORTED]: 'conflict',
  [OUT_OF_RANGE]: 'invalid',
  [UNIMPLEMENTED]: 'unsupported',
  [INTERNAL]: 'internal',
  [DATA_LOSS]: 'corrupt',
  [UNAUTHENTICATED]: 'unauthenticated',
};

/** The kind of error that a status stands for. */
export function errorCodeOf(status: number): ErrorCode {
  return kinds[status] ?? 'unavailable';
}

const statuses: Record<ErrorCode, number> = {
  invalid: INVALID_ARGUMENT,
  'not-found': NOT_FOUND,
  exists: ALREADY_EXISTS,
  unauthenticated: UNAUTHENTICATED,
  denied: PERMISSION_DENIED,
  conflict: FAILED_PRECONDITION,
  unsupported: UNIMPLEMENTED,
  unavailable: UNAVAILABLE,
  exhausted: RESOURCE_EXHAUSTED,
  canceled: CANCELLED,
  corrupt: DATA_LOSS,
  failed: UNKNOWN,
  internal: INTERNAL,
};

/** The status that tells a peer of our error. */
export function statusOf(err: unknown): CallStatus {
  if (err instanceof GrpcError) return { code: err.code, message: err.message };
  // Clients written in Go look for this exact text.
  const gone = err instanceof DrydockError && err.code === 'canceled' && err.message === 'canceled';
  const message = gone ? 'context canceled' : err instanceof Error ? err.message : String(err);
  return { code: err instanceof DrydockError ? statusCode(err) : UNKNOWN, message };
}

/** A step that wants a file which is missing fails as a step, and BuildKit has no code for that. */
function statusCode({ code, hop, step }: DrydockError): number {
  return code === 'not-found' && hop === 'file' && step !== undefined ? UNKNOWN : statuses[code];
}

/** The status in the headers or trailers of an answer; undefined when there is none, as before messages. */
export function statusIn(headers: IncomingHttpHeaders): CallStatus | undefined {
  const code = headers['grpc-status'];
  if (code === undefined) return undefined;
  return {
    code: /^\d{1,4}$/.test(String(code)) ? Number(code) : UNKNOWN,
    message: decodeMessage(String(headers['grpc-message'] ?? '')),
  };
}

/** Decodes `grpc-message`, which is percent-encoded UTF-8. A text that cannot be decoded is returned unchanged. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function encodeMessage(text: string): string {
  return text.toWellFormed().replace(/[^\x20-\x24\x26-\x7e]/gu, encodeURIComponent);
}
