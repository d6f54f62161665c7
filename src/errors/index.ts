/** The one error type, and the texts of errors. */
export { clip } from './clip.ts';
export {
  canceled,
  DrydockError,
  type ErrorCode,
  type ErrorFields,
  errnoCode,
  fail,
  type Hop,
  prefixed,
  type SourceLocation,
  type SourceRange,
  type Stopping,
  throwIfAborted,
  toDrydockError,
  withoutPaths,
} from './error.ts';
export { hidden, looksSecret, Masks, maskUrls } from './mask.ts';
export { nearest } from './nearest.ts';
export { offline } from './offline.ts';
export { printable } from './printable.ts';
