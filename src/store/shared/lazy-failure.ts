/** Explains a failure by a file of a lazy layer that could not be fetched. */
import { DrydockError, errnoCode, toDrydockError } from '../../errors/index.ts';
import { lazyLayersOf, type Mount } from '../../fs/index.ts';
import type { Store } from '../store.ts';

/**
 * Turns an error of work on some mounts that began at a time (ms since the epoch) into one that names the layer, the
 * registry and the file, when a read of a lazy layer in those mounts has failed since. Others are returned as they are. A
 * step that failed by itself keeps its exit code.
 */
export function explainLazy(
  err: unknown,
  { lazy }: Pick<Store, 'lazy'>,
  since: number,
  mounts: readonly Mount[],
): unknown {
  const isStep = err instanceof DrydockError && err.exitCode !== undefined;
  if (lazy === undefined || !(isStep || isUnread(err))) return err;
  const failure = lazy.failureSince(since, lazyLayersOf(mounts));
  if (failure === undefined) return err;
  if (!isStep) return failure;
  const error = toDrydockError(err);
  if (error.message.includes(failure.message)) return error;
  error.message = `${error.message}; ${failure.message}`;
  error.hop = failure.hop;
  error.hint = failure.hint;
  error.details = { ...error.details, ...failure.details };
  return error;
}

/** Whether a read that the kernel refused (EIO) is among the causes. */
function isUnread(err: unknown): boolean {
  let at: unknown = err;
  for (let depth = 0; at instanceof Error && depth < 8; depth++, at = at.cause) {
    if (errnoCode(at) === 'EIO') return true;
  }
  return false;
}
