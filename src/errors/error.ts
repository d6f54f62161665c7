/**
 * The one error type of Drydock. An error tells what happened (message), its kind (code), on which hop between the
 * client and the bytes it happened (hop), where in the Dockerfile (ranges) and what to do next (hint).
 *
 *     throw fail('not-found', 'registry', 'docker.io/library/app:1 is not there', { hint: 'Push it first.' });
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

/** The part of the way between the client and the bytes on which an error arose. */
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
  | 'bucket'
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
  /** Default: `Dockerfile`. */
  language?: string;
  /** The LLB whose output has the file, in the JSON form of `pb.Definition`. */
  definition?: object;
  /** Further places of the same thing, innermost first. */
  also?: SourceLocation[];
}

/** The facts of an error besides its message. */
export interface ErrorFields {
  code: ErrorCode;
  hop?: Hop;
  /** The next thing to do: a full sentence or a command. */
  hint?: string;
  cause?: unknown;
  source?: SourceLocation;
  /** Name of the build step (vertex) that failed. */
  step?: string;
  /** Digest of the vertex that failed. */
  vertex?: string;
  /** Exit code of a process that ran and failed. */
  exitCode?: number;
  /** The last lines that the failed step printed. */
  logTail?: string[];
  /** Further machine-readable facts: registry, repository, status, path … */
  details?: Record<string, string | number | boolean>;
}

/**
 * Further facts about an error for code in this process; they are never shown, logged or sent. A file adds its own fact
 * by declaration merging.
 */
// biome-ignore lint/suspicious/noEmptyInterface: filled by declaration merging
export interface ErrorFacts {}

/** The one error type; the top of this file tells its parts. */
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
  #facts: ErrorFacts | undefined;

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

  /** Further facts. They are not fields, so a copy of the error (`{ ...error }`) lacks them. */
  get facts(): ErrorFacts {
    this.#facts ??= {};
    return this.#facts;
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
  // Each vertex of each build makes one in its end, and nobody asks where.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return new DrydockError('canceled', { code: 'canceled', cause: reason });
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** The members of an AbortSignal that tell whether to stop. */
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

/** Failures of the system by their codes: kind, words and hint. */
const systemFailures: Partial<Record<string, { code: ErrorCode; what: string; hint: string }>> = {
  ENOSPC: {
    code: 'exhausted',
    what: 'no space left on the disk',
    hint: 'Free disk space, for example with `drydock prune`.',
  },
  EDQUOT: {
    code: 'exhausted',
    what: 'no space left in the disk quota',
    hint: 'Free disk space, for example with `drydock prune`, or raise the quota.',
  },
  EROFS: {
    code: 'unavailable',
    what: 'the disk is mounted read-only',
    hint: 'Mount it for writing (the kernel makes a disk with errors read-only and says so in `dmesg`), or use another --root.',
  },
  EMFILE: {
    code: 'exhausted',
    what: 'too many open files',
    hint: 'Raise the limit (`ulimit -n`, LimitNOFILE= in the systemd unit), or run fewer builds at once.',
  },
  ENFILE: {
    code: 'exhausted',
    what: 'too many open files on this machine',
    hint: 'Raise the sysctl fs.file-max, or run fewer builds at once.',
  },
  ENAMETOOLONG: {
    code: 'invalid',
    what: 'a name or a path is longer than the file system takes',
    hint: 'A name has at most 255 bytes, a path 4,095.',
  },
  E2BIG: {
    code: 'invalid',
    what: 'an argument or a variable is longer than the kernel lets programs be given',
    hint: 'One has at most 128 KiB, all of them together 2 MiB (a quarter of `ulimit -s`).',
  },
};

/** A system error without the paths in its message: they are the host's, and clients see paths of their own only. */
export function withoutPaths(err: unknown): Error {
  const message = err instanceof Error ? err.message : String(err);
  return Object.assign(new Error(message.replace(/ '\/.*$/s, '')), { code: errnoCode(err) });
}

/**
 * Turns any thrown value into a DrydockError. A full or read-only disk, too many open files and too long a name or
 * argument get a hint; any other foreign error becomes `internal` and is its own cause.
 */
export function toDrydockError(err: unknown, hop?: Hop): DrydockError {
  if (err instanceof DrydockError) return err;
  if (err instanceof Error && err.name === 'AbortError') return canceled(err);
  const message = err instanceof Error ? err.message : String(err);
  const known = systemFailures[errnoCode(err) ?? ''];
  if (known !== undefined) {
    const { code, what, hint } = known;
    // The name is the client's; its place is the host's affair.
    if (code === 'invalid') return new DrydockError(what, { code, hop: hop ?? 'host', hint });
    return new DrydockError(`${what}: ${message}`, { code, hop: hop ?? 'host', hint, cause: err });
  }
  return new DrydockError(message, { code: 'internal', hop, cause: err });
}

/** The error with a prefix to its message and all else unchanged. */
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
