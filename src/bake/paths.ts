/** The paths that bake files name. Pure. */
import { posix } from 'node:path';
import { fail } from '../errors/index.ts';
import { isRemoteUrl, parseGitRemote } from '../words/index.ts';

/** The prefix of paths that are this side's, wherever the bake file is. */
export const here = 'cwd://';

/** A path without detours, as Go's `path.Clean` gives it. */
function cleaned(path: string): string {
  return posix.normalize(path).replace(/(?<=.)\/$/, '');
}

/**
 * A context as it is built from and shown: a folder without detours, and without the prefix. `base`: the URL that the
 * file came from; its folders are there. Throws `unsupported` where they cannot be named.
 */
export function plainContext(context: string, base?: string): string {
  if (context === '-' || isRemoteUrl(context)) return context;
  if (context.startsWith(here)) return cleaned(context.slice(here.length));
  return base === undefined ? cleaned(context) : remoteFolder(base, cleaned(context));
}

/** A named context, likewise. */
export function plainNamedContext(context: string, base?: string): string {
  if (base === undefined || isRemoteUrl(context) || /^(?:cwd|target|docker-image|oci-layout):/.test(context))
    return context;
  return remoteFolder(base, cleaned(context));
}

/** A folder of what a URL leads to: `URL#ref:folder`. Only git repositories have such. */
function remoteFolder(base: string, folder: string): string {
  if (folder === '.') return base;
  const remote = parseGitRemote(base.startsWith('github.com/') ? `https://${base}` : base);
  const isGit = remote?.scheme !== 'http' && remote?.scheme !== 'https';
  if (!isGit && !base.startsWith('github.com/') && remote?.path.endsWith('.git') !== true) {
    throw fail('unsupported', 'client', `the context ${folder} in the archive ${base} cannot be named`, {
      hint: 'Have the targets of an archive take all of it as their context (".").',
    });
  }
  const [address = '', fragment = ''] = base.split('#');
  const [ref = '', ...rest] = fragment.split(':');
  const given = new URL(address, 'https://github.com').searchParams;
  const before = rest.join(':') || (given.get('subdir') ?? '');
  const subdir = cleaned(posix.join('/', before, folder)).slice(1);
  if (fragment === '' && given.has('subdir')) {
    return address.replace(/([?&]subdir=)[^&]*/, (_, key: string) => key + encodeURIComponent(subdir));
  }
  return `${address}#${ref}${subdir === '' ? '' : `:${subdir}`}`;
}

/** A path of a compose file, which has no prefix; a URL, or the name of another thing, as it is. */
export function composePath(path: string): string {
  return isRemoteUrl(path) || /^[a-z-]+:/.test(path) ? path : cleaned(path);
}
