/** The errors of the parser, before and after they know their place. */
import { DrydockError, fail, type SourceRange } from '../../../errors/index.ts';

/** An error that has no place yet. The caller that knows the instruction's range adds it (`located`). */
export function invalid(message: string, hint?: string): DrydockError {
  return fail('invalid', 'dockerfile', message, hint === undefined ? {} : { hint });
}

/** A file that is being parsed, as errors need it. */
export interface SourceFile {
  filename: string;
  text: string;
  /** The LLB that gives it; see `SourceLocation`. */
  definition?: object;
}

/** The error with its place in the file, and with `prefix` before its message. */
export function located(err: unknown, file: SourceFile, range: SourceRange, prefix = ''): unknown {
  if (!(err instanceof DrydockError) || err.source !== undefined) return err;
  return fail(err.code, 'dockerfile', prefix + err.message, {
    hint: err.hint ?? 'See https://docs.docker.com/reference/dockerfile/ for the form of this instruction.',
    cause: err,
    source: { filename: file.filename, text: file.text, definition: file.definition, ranges: [range] },
  });
}
