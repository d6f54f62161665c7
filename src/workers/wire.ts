/** How calls and errors cross between the main thread and a worker. */
import { DrydockError, type ErrorFields, toDrydockError } from '../errors/index.ts';

/** Main thread → worker. `flag[0]` turns 1 when the caller gives up. */
export interface TaskCall {
  id: number;
  name: string;
  args: unknown;
  flag: Int32Array;
}

/** Main thread → worker: load these tasks' code now, then run one that nobody waits for. */
export interface TaskPreload {
  preload: string[];
  ahead?: Omit<TaskCall, 'id'>;
}

/** Worker → main thread. */
export type TaskReply =
  /** The code of these tasks is loaded, or failed to; or what was to be done ahead is over. */
  | { id: 0; type: 'loaded'; tasks: string[] }
  | { id: number; type: 'message'; message: unknown }
  | { id: number; type: 'result'; result: unknown }
  | { id: number; type: 'error'; error: PlainError };

/** An error as plain data. `fields` is there when it was a DrydockError. */
export interface PlainError {
  message: string;
  name: string;
  stack?: string;
  /** `code` of a Node system error. */
  errno?: { code?: string; syscall?: string; path?: string };
  fields?: Omit<ErrorFields, 'cause'>;
  cause?: PlainError;
}

/** Any thrown value as plain data, with all of a DrydockError's fields and its chain of causes. */
export function packError(err: unknown, depth = 0): PlainError {
  if (!(err instanceof Error)) return { name: 'Error', message: String(err) };
  const plain: PlainError = { name: err.name, message: err.message, stack: err.stack };
  if (err instanceof DrydockError) {
    const { code, hop, hint, source, step, exitCode, logTail, details } = err;
    plain.fields = { code, hop, hint, source, step, exitCode, logTail, details };
  } else {
    const { code, syscall, path } = err as NodeJS.ErrnoException;
    if (typeof code === 'string') plain.errno = { code, syscall, path };
  }
  if (err.cause !== undefined && depth < 8) plain.cause = packError(err.cause, depth + 1);
  return plain;
}

/** The reverse of `packError`. */
function unpackError(plain: PlainError): Error {
  const cause = plain.cause === undefined ? undefined : unpackError(plain.cause);
  let err: Error;
  if (plain.fields !== undefined) err = new DrydockError(plain.message, { ...plain.fields, cause });
  else {
    err = new Error(plain.message, cause === undefined ? undefined : { cause });
    err.name = plain.name;
    if (plain.errno !== undefined) Object.assign(err, plain.errno);
  }
  if (plain.stack !== undefined) err.stack = plain.stack;
  return err;
}

/** What a task's failure is to its caller: always a DrydockError. */
export function taskError(plain: PlainError): DrydockError {
  return toDrydockError(unpackError(plain));
}
