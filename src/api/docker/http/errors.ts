/** Errors in docker's form: a status and `{"message": …}`, or an `errorDetail` at the end of a stream. */
import { DrydockError, type ErrorCode, type SourceLocation } from '../../../errors/index.ts';

const statuses: Record<ErrorCode, number> = {
  invalid: 400,
  unauthenticated: 401,
  denied: 403,
  'not-found': 404,
  exists: 409,
  conflict: 409,
  // Nobody is there to read it; nginx's number for "client closed request".
  canceled: 499,
  unsupported: 501,
  unavailable: 503,
  exhausted: 507,
  corrupt: 500,
  failed: 500,
  internal: 500,
};

/**
 * The HTTP status of an error. A registry or another peer that refuses is no refusal by this daemon: that is a 500.
 * Bytes that the client itself has sent and that are not in their format (an archive that is none) are its own mistake:
 * a 400.
 */
export function httpStatus(error: DrydockError): number {
  if (error.code === 'corrupt' && (error.hop === 'client' || error.hop === 'context')) return 400;
  const peer =
    error.hop === 'registry' || error.hop === 'http' || error.hop === 'git' || error.hop === 'bucket';
  if (peer && (error.code === 'denied' || error.code === 'unauthenticated')) return 500;
  return statuses[error.code];
}

/** The message, with each cause that adds something. */
function sentence(error: DrydockError): string {
  let text = error.message;
  let cause = error.cause;
  for (let depth = 0; cause instanceof Error && depth < 5; depth++, cause = cause.cause) {
    if (cause.message !== '' && !text.includes(cause.message)) text += `: ${cause.message}`;
  }
  return text;
}

/** The fields of the log's line about an error; undefined for an error that is the client's own. */
export function faultOf(error: DrydockError): Record<string, string | undefined> | undefined {
  if (httpStatus(error) < 500 || error.code === 'unsupported') return undefined;
  const { hop, hint, cause } = error;
  const stack = error.code !== 'internal' ? undefined : cause instanceof Error ? cause.stack : error.stack;
  return { error: sentence(error), hop, hint, stack };
}

/** One line for a JSON body: the message, the hop when it is a refusal, and the hint. */
export function apiMessage(error: DrydockError): string {
  const refusal = error.code === 'denied' && error.hop !== undefined;
  const text = refusal ? `${sentence(error)} (at hop: ${error.hop})` : sentence(error);
  if (error.hint === undefined) return text;
  return /[.!?]$/.test(text) ? `${text} ${error.hint}` : `${text}. ${error.hint}`;
}

/** The hops whose names add nothing to the message. */
const plainHops = new Set(['client', 'exec', 'dockerfile']);

/**
 * The message of a failed build: step, cause, place in the Dockerfile, the last lines printed, hop and hint. Many
 * clients show nothing else of a build, and show this word for word.
 */
export function buildMessage(error: DrydockError, withLog: boolean): string {
  const parts: string[] = [];
  const place = error.source === undefined ? undefined : placeOf(error.source);
  const step = error.step === undefined ? '' : `${error.step}: `;
  parts.push(
    `failed to build: ${step}${sentence(error).replace(/^failed to (solve|build): /, '')}${place === undefined ? '' : ` (${place})`}`,
  );
  if (withLog && error.logTail !== undefined && error.logTail.length > 0) {
    parts.push(...error.logTail.map((line) => `  | ${line}`));
  }
  if (error.hop !== undefined && !plainHops.has(error.hop)) parts.push(`at hop: ${error.hop}`);
  if (error.hint !== undefined) parts.push(`hint: ${error.hint}`);
  return parts.join('\n');
}

/** The place in a file: `Dockerfile:3`. */
export function placeOf({ filename, ranges }: SourceLocation): string | undefined {
  const line = ranges[0]?.start.line;
  return line === undefined ? undefined : `${filename}:${line}`;
}

/** The last object of a stream that has failed. */
export function streamError(message: string, code?: number): object {
  return { errorDetail: code === undefined ? { message } : { code, message }, error: message };
}

/** An error in docker's own words. */
export function apiError(code: ErrorCode, message: string, hint?: string): DrydockError {
  return new DrydockError(message, { code, hop: 'client', hint });
}
