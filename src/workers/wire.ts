/** The messages with which calls and errors cross between the main thread and a worker. */
import { DrydockError, type ErrorFields, toDrydockError } from '../errors/index.ts';

/** From the main thread to a worker: run a task. `flag[0]` becomes 1 when the caller gives up. */
export interface TaskCall {
  id: number;
  name: string;
  args: unknown;
  flag: Int32Array;
}

/** From the main thread to a worker: load the code of these tasks now, then run one whose result nobody awaits. */
export interface TaskPreload {
  preload: string[];
  ahead?: Omit<TaskCall, 'id'>;
}

/** From the main thread to a worker that has nothing to do: give memory back. */
export interface TaskRest {
  rest: true;
}

/** From a worker to the main thread. */
export type TaskReply =
  /** The code of these tasks is loaded, or failed to load; or the task to run ahead is over. */
  | { id: 0; type: 'loaded'; tasks: string[] }
  | { id: number; type: 'message'; message: unknown }
  | { id: number; type: 'result'; result: unknown }
  | { id: number; type: 'error'; error: PlainError };

/** An error as plain data. `fields` is set when it was a DrydockError. */
export interface PlainError {
  message: string;
  name: string;
  stack?: string;
  /** `code` of a Node system error. */
  errno?: { code?: string; syscall?: string; path?: string };
  fields?: Omit<ErrorFields, 'cause'>;
  cause?: PlainError;
}

/** Turns any thrown value into plain data, with all fields of a DrydockError and its chain of causes. */
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

/** The inverse of `packError`. */
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

/** Turns a task's failure into the DrydockError that its caller gets. */
export function taskError(plain: PlainError): DrydockError {
  return toDrydockError(unpackError(plain));
}
