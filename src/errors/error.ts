/**
 * The one error type of Drydock. An error says what happened (message), what kind it is (code), on which hop
 * between the client and the bytes it happened (hop), where in the Dockerfile (ranges) and what to do (hint).
 */

import { printable } from './printable.ts';

/** The kinds of failure. They map one to one on HTTP statuses and gRPC codes (see `httpStatus`, `grpcCode`). */
export type ErrorCode =
  | 'invalid' // the request, the Dockerfile or a flag is wrong
  | 'not-found'
  | 'exists'
  | 'unauthenticated'
  | 'denied'
  | 'conflict' // in use, or the state does not allow it
  | 'unsupported'
  | 'unavailable' // a peer could not be reached or broke off
  | 'exhausted' // disk full, too many, too large
  | 'canceled'
  | 'corrupt' // a digest or a format does not hold
  | 'failed' // a build step ran and failed
  | 'internal';

/** Where between the client and the bytes an error arose. */
export type Hop =
  | 'client'
  | 'context'
  | 'dockerfile'
  | 'frontend'
  | 'llb'
  | 'solver'
  | 'cache'
  | 'exec'
  | 'file'
  | 'registry'
  | 'http'
  | 'git'
  | 'session'
  | 'store'
  | 'export'
  | 'host';

/** A range of a source file; lines are 1-based, columns 0-based, as in BuildKit's `pb.Position`. */
export interface SourceRange {
  start: { line: number; character: number };
  end: { line: number; character: number };
}

/** A place in a named source file, with the file's text so that an excerpt can be shown. */
export interface SourceLocation {
  filename: string;
  text: string;
  ranges: SourceRange[];
  /** `Dockerfile` when nothing is said. */
  language?: string;
  /** The LLB that gives the file, in the JSON form of `pb.Definition`. */
  definition?: object;
  /** Further places of the same thing, the innermost first. */
  also?: SourceLocation[];
}

export interface ErrorFields {
  code: ErrorCode;
  hop?: Hop;
  /** What to do next, a full sentence or a command. */
  hint?: string;
  cause?: unknown;
  source?: SourceLocation;
  /** Name of the build step (vertex) that failed. */
  step?: string;
  /** Digest of the vertex that failed. */
  vertex?: string;
  /** Exit code of a process that ran and failed. */
  exitCode?: number;
  /** The last lines the failed step printed. */
  logTail?: string[];
  /** Further machine-readable facts: registry, repository, status, path … */
  details?: Record<string, string | number | boolean>;
}

export class DrydockError extends Error implements ErrorFields {
  override readonly name = 'DrydockError';
  readonly code: ErrorCode;
  hop?: Hop;
  hint?: string;
  source?: SourceLocation;
  step?: string;
  vertex?: string;
  exitCode?: number;
  logTail?: string[];
  details?: Record<string, string | number | boolean>;

  constructor(message: string, fields: ErrorFields) {
    super(printable(message), fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = fields.code;
    this.hop = fields.hop;
    this.hint = fields.hint && printable(fields.hint);
    this.source = fields.source;
    this.step = fields.step;
    this.vertex = fields.vertex;
    this.exitCode = fields.exitCode;
    this.logTail = fields.logTail;
    this.details = fields.details;
  }
}

/** Shorthand: `throw fail('invalid', 'dockerfile', 'unknown instruction: FOO', { hint: … })`. */
export function fail(
  code: ErrorCode,
  hop: Hop,
  message: string,
  rest: Omit<ErrorFields, 'code' | 'hop'> = {},
): DrydockError {
  return new DrydockError(message, { code, hop, ...rest });
}

/** The error for work given up because its caller went away. */
export function canceled(reason?: unknown): DrydockError {
  return new DrydockError('canceled', { code: 'canceled', cause: reason });
}

/** What of an AbortSignal says whether to stop. */
export type Stopping = Pick<AbortSignal, 'aborted' | 'reason'>;

/** Throws `canceled` if the signal has fired. */
export function throwIfAborted(signal: Stopping | undefined): void {
  if (signal?.aborted) throw canceled(signal.reason);
}

/** The `code` of a Node system error (`ENOENT`, …), or undefined. */
export function errnoCode(err: unknown): string | undefined {
  if (err instanceof Error && 'code' in err && typeof err.code === 'string') return err.code;
  return undefined;
}

/** Any thrown value as a DrydockError; a foreign error becomes `internal` (or `exhausted` on ENOSPC) with itself as cause. */
export function toDrydockError(err: unknown, hop?: Hop): DrydockError {
  if (err instanceof DrydockError) return err;
  if (err instanceof Error && err.name === 'AbortError') return canceled(err);
  const message = err instanceof Error ? err.message : String(err);
  if (errnoCode(err) === 'ENOSPC') {
    return new DrydockError(`no space left on the disk: ${message}`, {
      code: 'exhausted',
      hop: hop ?? 'host',
      hint: 'Free disk space, for example with `drydock prune`.',
      cause: err,
    });
  }
  return new DrydockError(message, { code: 'internal', hop, cause: err });
}

/** The error with more in front of its message; everything else about it stays. */
export function prefixed(err: unknown, prefix: string): DrydockError {
  const error = toDrydockError(err);
  const { code, hop, hint, source, step, exitCode, logTail, details } = error;
  return new DrydockError(`${prefix}: ${error.message}`, {
    code,
    hop,
    hint,
    source,
    step,
    exitCode,
    logTail,
    details,
    cause: error,
  });
}
