/** Looks into trees that a container writes to at this moment. */
import { constants } from 'node:fs';
import { DrydockError, errnoCode, fail } from '../errors/index.ts';
import { closeFd, openPath } from '../linux/index.ts';
import { atOnce } from '../workers/index.ts';
import { LayersView } from './layers-view.ts';
import { openView } from './open.ts';
import type { FsView, ViewSpec } from './view.ts';

/** The errors of a name that has vanished or become another kind of file. */
const swapped = ['ENOENT', 'ENOTDIR', 'ELOOP'];

/**
 * Calls `body` with a view in which each folder is opened once, from the folder that contains it: a folder that is
 * swapped for a symlink meanwhile leads nowhere. The view and its entries cannot be used after the call. Throws
 * `unavailable` when a file becomes another kind of file at the moment it is looked at.
 */
export function withLiveView<T>(spec: ViewSpec, body: (view: FsView) => T): T {
  return atOnce(
    lookLive(spec, function* (view) {
      yield;
      return body(view);
    }),
  );
}

/** Does the same for work that yields; the folders stay open until it is done. */
export function* lookLive<T>(spec: ViewSpec, body: (view: FsView) => Generator<void, T>): Generator<void, T> {
  if (spec.kind !== 'layers' || spec.dirs.length === 0) return yield* body(openView(spec));
  const open: number[] = [];
  const hold = (host: string): string | undefined => {
    try {
      const fd = openPath(host, constants.O_DIRECTORY | constants.O_NOFOLLOW);
      open.push(fd);
      return `/proc/self/fd/${fd}`;
    } catch (err) {
      if (swapped.includes(errnoCode(err) ?? '')) return undefined;
      throw err;
    }
  };
  try {
    return yield* body(new LayersView(spec.dirs, hold));
  } catch (err) {
    if (err instanceof DrydockError || ![...swapped, 'EINVAL'].includes(errnoCode(err) ?? '')) throw err;
    throw fail('unavailable', 'file', 'the container changed the files while they were looked at', {
      cause: err,
      hint: 'Try again.',
    });
  } finally {
    for (const fd of open) closeFd(fd);
  }
}
