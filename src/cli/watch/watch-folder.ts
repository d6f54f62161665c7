/** Tells when something below a folder changes. https://man7.org/linux/man-pages/man7/inotify.7.html */
import { type FSWatcher, lstatSync, watch } from 'node:fs';
import { join } from 'node:path';
import { errnoCode, fail } from '../../errors/index.ts';
import { IgnoreMatcher, type MatchState } from '../../fs/index.ts';
import { nameOf, rawName, readEntriesSync } from '../../linux/index.ts';

/** What a watcher of a folder is told. */
interface WatchOptions {
  /** Patterns of what does not count, as of a `.dockerignore`; folders that are left out whole are not looked into. */
  ignore: readonly string[];
  /** Called with the path of each change, relative to the folder. */
  changed(path: string): void;
  /** Called when watching ends by an error. */
  failed(error: Error): void;
}

/**
 * Watches a folder and all folders below it, also those that are made later; symlinks are not followed. Returns the
 * function that ends it. Throws `not-found` for a folder that there is not, and `exhausted` when the kernel watches no
 * more folders for this user.
 *
 *     const stop = watchFolder('app', { ignore: ['node_modules'], changed: console.log, failed: console.error });
 */
export function watchFolder(dir: string, { ignore, changed, failed }: WatchOptions): () => void {
  const matcher = new IgnoreMatcher(ignore);
  const watchers = new Map<string, FSWatcher>();
  const end = () => {
    for (const watcher of watchers.values()) watcher.close();
    watchers.clear();
  };
  const drop = (path: string) => {
    for (const [at, watcher] of watchers) {
      if (at !== path && !at.startsWith(`${path}/`)) continue;
      watcher.close();
      watchers.delete(at);
    }
  };
  const add = (path: string, state: MatchState | undefined): void => {
    if (watchers.has(path)) return;
    const watcher = watch(rawName(join(dir, path)), 'buffer', (kind, name) =>
      heard(path, kind, name === null ? '' : nameOf(name)),
    );
    watchers.set(path, watcher);
    watcher.on('error', (err) => {
      // A folder that is gone is told by the one above it.
      if (errnoCode(err) === 'ENOENT' || errnoCode(err) === 'EPERM') drop(path);
      else stop(err);
    });
    for (const { name, isFolder } of readEntriesSync(join(dir, path)))
      if (isFolder) below(path === '' ? name : `${path}/${name}`, state);
  };
  const below = (path: string, parent: MatchState | undefined): void => {
    const state = matcher.match(path, parent);
    if (state.matched && !matcher.canDifferBelow(path, state)) return;
    try {
      add(path, state);
    } catch (err) {
      // It was there a moment ago.
      if (!['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoCode(err) ?? '')) throw err;
    }
  };
  const heard = (folder: string, kind: string, name: string): void => {
    const path = folder === '' ? name : name === '' ? folder : `${folder}/${name}`;
    try {
      if (kind === 'rename' && name !== '') {
        if (watchers.has(path)) drop(path);
        if (isDirectory(join(dir, path))) below(path, folder === '' ? undefined : stateOf(matcher, folder));
      }
    } catch (err) {
      stop(err);
      return;
    }
    if (path === '' || !matcher.matches(path)) changed(path);
  };
  const stop = (err: unknown) => {
    end();
    failed(watchError(err, dir));
  };
  try {
    add('', undefined);
  } catch (err) {
    end();
    throw watchError(err, dir);
  }
  return end;
}

function stateOf(matcher: IgnoreMatcher, path: string): MatchState {
  let state: MatchState | undefined;
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) {
    state = matcher.match(path.slice(0, at), state);
  }
  return matcher.match(path, state);
}

function isDirectory(path: string): boolean {
  return lstatSync(rawName(path), { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function watchError(cause: unknown, dir: string): Error {
  const code = errnoCode(cause);
  if (code === 'ENOENT') return fail('not-found', 'context', `${dir} is not there to be watched`, { cause });
  if (code === 'ENOSPC' || code === 'EMFILE') {
    return fail('exhausted', 'context', `${dir} has more folders than the kernel watches for this user`, {
      cause,
      hint:
        code === 'ENOSPC'
          ? 'Leave folders out by .dockerignore, or raise the limit: sysctl fs.inotify.max_user_watches=524288'
          : 'Raise the limit: sysctl fs.inotify.max_user_instances=512',
    });
  }
  return fail('internal', 'context', `watching ${dir}: ${cause instanceof Error ? cause.message : cause}`, {
    cause,
  });
}
