/**
 * Reads git remotes in the form that source ops have. Frontends have read the forms that people write (`github.com/…`,
 * queries) before.
 */
import { DrydockError } from '../errors/index.ts';

interface GitUrl {
  scheme: 'http' | 'https' | 'ssh' | 'git' | 'file';
  /** `user` or `user:password`, as written; '' when there is none. */
  user: string;
  /** The host with its port, if any; '' for file. */
  host: string;
  /** The path as written; that of `user@host:path` has no leading slash. */
  path: string;
  /** The argument for git: the URL without query and fragment. */
  remote: string;
  /** A branch, a tag, a full ref name or a commit. */
  ref?: string;
  /** The folder of the repository to use, clean and relative. */
  subdir?: string;
}

const schemes = ['http', 'https', 'ssh', 'git', 'file'];
const scp =
  /^(?:([A-Za-z0-9][A-Za-z0-9_.-]*)@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-f:]+\]):(?!\/\/)([^#]+?)(?:#(.*))?$/is;
const standard = /^[^:]+:\/\/(?:([^@/?#]*)@)?([^/?#]*)([^?#]*)(?:\?[^#]*)?(?:#(.*))?$/s;

/**
 * Parses `scheme://host/path#ref:subdir` and `user@host:path#ref:subdir`. Refuses a text that git or ssh would take for
 * an option, and folders outside of the repository. Throws `invalid` (hop `git`), and never shows a password.
 */
export function parseGitUrl(text: string): GitUrl {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text)?.[1]?.toLowerCase();
  const match = (scheme === undefined ? scp : standard).exec(text);
  if (match === null) throw invalid(text, 'it is neither a URL nor user@host:path');
  const [, user = '', host = '', path = '', fragment = ''] = match;
  const at = user === '' ? '' : `${user}@`;
  if (scheme !== undefined && !schemes.includes(scheme)) throw invalid(text, `unknown protocol ${scheme}`);
  if (host === '' && scheme !== 'file') throw invalid(text, 'it names no host');
  const remote = scheme === undefined ? `${at}${host}:${path}` : `${scheme}://${at}${host}${path}`;
  const colon = fragment.indexOf(':');
  const ref = colon < 0 ? fragment : fragment.slice(0, colon);
  const subdir = cleanSubdir(colon < 0 ? '' : fragment.slice(colon + 1), text);
  for (const part of [host, user, path, ref]) {
    if (part.startsWith('-')) throw invalid(text, `${JSON.stringify(part)} begins with a dash`);
  }
  if (/[\0-\x20\x7f]/.test(remote + ref)) throw invalid(text, 'it holds blanks or control characters');
  return {
    scheme: (scheme ?? 'ssh') as GitUrl['scheme'],
    user,
    host,
    path,
    remote,
    ...(ref === '' ? {} : { ref }),
    ...(subdir === '' ? {} : { subdir }),
  };
}

/** A URL without the user and password it may carry: fit for logs and errors. */
export function withoutCredentials(url: string): string {
  return url.replace(/^([A-Za-z][A-Za-z0-9+.-]*:\/\/)[^/?#]*@/, '$1');
}

function cleanSubdir(subdir: string, text: string): string {
  const parts = subdir.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw invalid(text, `the folder ${JSON.stringify(subdir)} leaves the repository`);
  if (subdir.includes('\0')) throw invalid(text, 'its folder holds a NUL');
  return parts.join('/');
}

function invalid(text: string, why: string): DrydockError {
  return new DrydockError(`invalid git URL ${JSON.stringify(withoutCredentials(text))}: ${why}`, {
    code: 'invalid',
    hop: 'git',
    hint: 'Write it as https://host/path.git#branch:folder or git@host:path.git#branch:folder.',
  });
}
