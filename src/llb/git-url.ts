/**
 * Git URLs as docker build and ADD take them: `https://host/repo.git#ref:subdir`, `git@host:path#ref:subdir`,
 * `ssh://`, `git://`, and the query form `https://host/repo.git?branch=main&subdir=app`.
 * https://docs.docker.com/build/concepts/context/#git-repositories
 */
import { DrydockError } from '../errors/error.ts';

export interface GitUrl {
  scheme: 'http' | 'https' | 'ssh' | 'git' | 'file';
  /** `user` or `user:password`, as written; '' when there is none. */
  user: string;
  /** Host with port, if any; '' for file. */
  host: string;
  /** As written, for ssh shorthand without a leading slash. */
  path: string;
  /** What `git fetch` is given: the URL without query and fragment. */
  remote: string;
  /** Branch, tag, full ref name or commit. */
  ref?: string;
  /** Folder of the repository to use. */
  subdir?: string;
  /** Commit that `ref` must lead to. */
  checksum?: string;
  keepGitDir?: boolean;
  /** False: leave submodules out. */
  submodules?: boolean;
}

const schemes = ['http', 'https', 'ssh', 'git', 'file'] as const;
const scp =
  /^(?:([A-Za-z0-9][A-Za-z0-9_.-]*)@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-f:]+\]):(?!\/\/)([^#]+?)(?:#(.*))?$/i;

/**
 * Whether docker takes a build context or ADD source of this spelling for a git repository: a `git://`, `ssh://` or
 * `git@…:` address, one that starts with `github.com/`, or an http(s) URL whose path ends in `.git`.
 */
export function isGitUrl(text: string): boolean {
  if (/^(git|ssh):\/\//i.test(text) || /^github\.com\//.test(text)) return true;
  if (/^(https?|file):\/\//i.test(text)) return /\.git$/.test(text.replace(/[#?].*$/s, ''));
  return /^[A-Za-z0-9][A-Za-z0-9_.-]*@/.test(text) && scp.test(text);
}

/** Parses any git remote, whether or not `isGitUrl` holds. Throws `invalid` (hop `git`); never shows a password. */
export function parseGitUrl(text: string): GitUrl {
  const written = text.startsWith('github.com/') ? `https://${text}` : text;
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(written)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    const match = scp.exec(written);
    if (match === null) throw invalid(text, 'it is neither a URL nor user@host:path');
    const [, user = '', host = '', path = '', fragment = ''] = match;
    const remote = `${user === '' ? '' : `${user}@`}${host}:${path}`;
    return check({ scheme: 'ssh', user, host, path, remote, ...fromFragment(fragment, text) }, text);
  }
  if (!(schemes as readonly string[]).includes(scheme)) throw invalid(text, `unknown protocol ${scheme}`);
  const match = /^[^:]+:\/\/(?:([^@/?#]*)@)?([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/s.exec(written);
  if (match === null) throw invalid(text, 'it is not a URL');
  const [, user = '', host = '', path = '', query, fragment = ''] = match;
  if (host === '' && scheme !== 'file') throw invalid(text, 'it names no host');
  const remote = `${scheme}://${user === '' ? '' : `${user}@`}${host}${path}`;
  const base = { scheme: scheme as GitUrl['scheme'], user, host, path, remote };
  const named = fromFragment(fragment, text);
  const asked = query === undefined ? {} : fromQuery(query, text);
  for (const key of ['ref', 'subdir'] as const) {
    if (named[key] !== undefined && asked[key] !== undefined && named[key] !== asked[key]) {
      throw invalid(text, `${key} is ${named[key]} in the fragment but ${asked[key]} in the query`);
    }
  }
  return check({ ...base, ...asked, ...named }, text);
}

/** A URL without the user and password it may carry: fit for logs and errors. */
export function withoutCredentials(url: string): string {
  return url.replace(/^([A-Za-z][A-Za-z0-9+.-]*:\/\/)[^/?#]*@/, '$1');
}

function fromFragment(fragment: string, text: string): Pick<GitUrl, 'ref' | 'subdir'> {
  const at = fragment.indexOf(':');
  const ref = decode(at < 0 ? fragment : fragment.slice(0, at), text);
  const subdir = decode(at < 0 ? '' : fragment.slice(at + 1), text);
  return { ...(ref === '' ? {} : { ref }), ...(subdir === '' ? {} : { subdir }) };
}

function fromQuery(query: string, text: string): Partial<GitUrl> {
  const out: Partial<GitUrl> = {};
  const ref = (value: string) => {
    if (out.ref !== undefined && out.ref !== value) throw invalid(text, 'it names more than one ref');
    out.ref = value;
  };
  for (const [key, value] of new URLSearchParams(query)) {
    switch (key) {
      case 'ref':
        ref(value);
        break;
      case 'branch':
        ref(value.startsWith('refs/') ? value : `refs/heads/${value}`);
        break;
      case 'tag':
        ref(value.startsWith('refs/') ? value : `refs/tags/${value}`);
        break;
      case 'subdir':
        out.subdir = value;
        break;
      case 'checksum':
      case 'commit':
        out.checksum = value;
        break;
      case 'keep-git-dir':
        out.keepGitDir = bool(key, value, text);
        break;
      case 'submodules':
        out.submodules = bool(key, value, text);
        break;
      default:
        throw invalid(text, `unexpected query ${JSON.stringify(key)}`);
    }
  }
  if (out.ref === undefined && out.checksum !== undefined) out.ref = out.checksum;
  return out;
}

function check(url: GitUrl, text: string): GitUrl {
  // A leading dash would be an option to git, or to ssh.
  for (const part of [url.host, url.user, url.path, url.ref ?? '']) {
    if (part.startsWith('-')) throw invalid(text, `${JSON.stringify(part)} begins with a dash`);
  }
  if (/[\0-\x20\x7f]/.test(url.remote + (url.ref ?? '')))
    throw invalid(text, 'it holds blanks or control characters');
  if (url.checksum !== undefined && !/^[0-9a-f]{7,64}$/.test(url.checksum)) {
    throw invalid(text, `${JSON.stringify(url.checksum)} is not a commit hash`);
  }
  const { subdir } = url;
  if (subdir !== undefined) {
    const parts = subdir.split('/').filter((part) => part !== '' && part !== '.');
    if (parts.includes('..'))
      throw invalid(text, `the folder ${JSON.stringify(subdir)} leaves the repository`);
    if (parts.length === 0) delete url.subdir;
    else url.subdir = parts.join('/');
  }
  return url;
}

function bool(key: string, value: string, text: string): boolean {
  if (['', '1', 'true'].includes(value)) return true;
  if (['0', 'false'].includes(value)) return false;
  throw invalid(text, `${key} is ${JSON.stringify(value)}, not true or false`);
}

function decode(part: string, text: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalid(text, `${JSON.stringify(part)} is not well encoded`);
  }
}

function invalid(text: string, why: string): DrydockError {
  return new DrydockError(`invalid git URL ${JSON.stringify(withoutCredentials(text))}: ${why}`, {
    code: 'invalid',
    hop: 'git',
    hint: 'Write it as https://host/path.git#branch:folder or git@host:path.git#branch:folder.',
  });
}
