import {
  type DrydockError,
  type SourceLocation,
  type SourceRange,
  toDrydockError,
} from '../../../errors/index.ts';
import type { Dockerfile } from '../ast.ts';

/** A range of the Dockerfile, with the Dockerfile. */
export function locationOf(file: Dockerfile, range: SourceRange): SourceLocation & { language: string } {
  const { filename, text, definition } = file;
  return { filename, text, definition, ranges: [range], language: 'Dockerfile' };
}

/** The error with its place in the Dockerfile, unless it has one. */
export function located(err: unknown, file: Dockerfile, range: SourceRange): DrydockError {
  const error = toDrydockError(err, 'dockerfile');
  error.source ??= locationOf(file, range);
  error.hop ??= 'dockerfile';
  return error;
}

/** Runs `fn`. An error that it throws gets the place `range`. */
export function atRange<T>(file: Dockerfile, range: SourceRange, fn: () => T): T {
  try {
    return fn();
  } catch (err) {
    throw located(err, file, range);
  }
}
