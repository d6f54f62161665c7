/** What can be the matter with an object store, and the errors that say so. */
import { DrydockError, type ErrorCode, errnoCode, fail } from '../errors/index.ts';

/** The kinds of trouble, whichever store has it. */
export type ObjectTrouble =
  | 'not-found' // the object is not there
  | 'exists' // it is written once, and was
  | 'no-bucket' // the bucket or container is not there
  | 'forbidden' // these credentials may not do that, or are no credentials of the store
  | 'no-credentials' // there are none to be had
  | 'throttled' // the store asks for fewer requests, and kept on asking
  | 'clock-skew' // this machine's clock differs too much from the store's
  | 'expired-token' // the credentials were good and have ended
  | 'temporary' // the network, or a failure inside of the store
  | 'unsupported' // the store does not have this operation
  | 'other';

declare module '../errors/error.ts' {
  interface ErrorFacts {
    /** What the matter was with an object store. */
    trouble?: ObjectTrouble;
  }
}

const codes: Readonly<Record<ObjectTrouble, ErrorCode>> = {
  'not-found': 'not-found',
  exists: 'exists',
  'no-bucket': 'not-found',
  forbidden: 'denied',
  'no-credentials': 'unauthenticated',
  throttled: 'unavailable',
  'clock-skew': 'unauthenticated',
  'expired-token': 'unauthenticated',
  temporary: 'unavailable',
  unsupported: 'unsupported',
  other: 'invalid',
};

const hints: Readonly<Partial<Record<ObjectTrouble, string>>> = {
  'no-bucket': 'Make it first, or check the name and the region.',
  forbidden: 'Check the credentials, and that they may read, list, write and delete there.',
  throttled: 'The store limits how often it is asked: try again later, or with less at once.',
  'clock-skew': 'Set the clock of this machine (timedatectl).',
  'expired-token': 'Get new credentials; those that end can be renewed by a role or a token file.',
  temporary:
    'Try again; if it stays, look at the network, the proxies on the way and the state of the store.',
};

/** The trouble that an error is about; undefined for an error that is not an object store's. */
export function troubleOf(err: unknown): ObjectTrouble | undefined {
  return err instanceof DrydockError ? err.facts.trouble : undefined;
}

/** Whether to try again later may help. */
export function isPassing(trouble: ObjectTrouble | undefined): boolean {
  return trouble === 'temporary' || trouble === 'throttled';
}

/** What a store has answered, understood. */
export interface Refusal {
  trouble: ObjectTrouble;
  /** The store's own words, for the message. */
  said?: string;
  hint?: string;
}

/** The error for an answer. `doing`: the attempt in words, `reading blobs/x of s3://bucket`. */
export function refused(doing: string, status: number, refusal: Refusal): DrydockError {
  const { trouble, said, hint = hints[trouble] } = refusal;
  const words = said === undefined || said === '' ? '' : ` (${clean(said)})`;
  return withTrouble(
    fail(codes[trouble], 'bucket', `${doing}: the store answered ${status}${words}`, {
      hint,
      details: { status },
    }),
    trouble,
  );
}

/** An error that is not an answer. */
export function troubled(
  trouble: ObjectTrouble,
  message: string,
  more: { hint?: string; cause?: unknown } = {},
): DrydockError {
  return withTrouble(
    fail(codes[trouble], 'bucket', message, { hint: more.hint ?? hints[trouble], cause: more.cause }),
    trouble,
  );
}

/** The error for no answer at all. Errors that are understood already stay as they are. */
export function unreachable(doing: string, host: string, err: unknown): DrydockError {
  if (err instanceof DrydockError) return err;
  const first = err instanceof AggregateError && err.errors[0] instanceof Error ? err.errors[0] : err;
  const why = first instanceof Error ? first.message : String(first);
  const code = errnoCode(first);
  return troubled('temporary', `${doing}: cannot reach ${host}: ${why}`, {
    cause: err,
    ...(code === 'ENOTFOUND'
      ? { hint: 'Check the endpoint, the region and the network (DNS, HTTPS_PROXY).' }
      : {}),
  });
}

function withTrouble(error: DrydockError, trouble: ObjectTrouble): DrydockError {
  error.facts.trouble = trouble;
  return error;
}

/** A stranger's words on one line, and not too long. */
function clean(text: string): string {
  const line = text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').trim();
  return line.length > 300 ? `${line.slice(0, 300)}…` : line;
}
