/** The paths that bake files name. Pure. */
import { posix } from 'node:path';
import { isRemoteUrl } from '../words/index.ts';

/** The prefix of paths that are this side's, wherever the bake file is. */
export const here = 'cwd://';

/** A path without detours, as Go's `path.Clean` gives it. */
function cleaned(path: string): string {
  return posix.normalize(path).replace(/(?<=.)\/$/, '');
}

/** A context as it is built from and shown: a folder without detours, and without the prefix. */
export function plainContext(context: string): string {
  if (context === '-' || isRemoteUrl(context)) return context;
  return cleaned(context.startsWith(here) ? context.slice(here.length) : context);
}

/** A path of a compose file, which has no prefix; a URL, or the name of another thing, as it is. */
export function composePath(path: string): string {
  return isRemoteUrl(path) || /^[a-z-]+:/.test(path) ? path : cleaned(path);
}
