import { fail } from '../../../errors/index.ts';
import { git, type OpOptions, type State } from '../../../llb/index.ts';
import { type GitRemote, isRemoteUrl, parseBool, parseGitRemote } from '../../../words/index.ts';

/**
 * A git repository in the form that a Dockerfile or `docker build` has: `https://host/repo.git#ref:subdir`,
 * `?ref=…&subdir=…`.
 */
export interface GitAddress {
  remote: string;
  ref: string;
  subdir: string;
  checksum?: string;
  keepGitDir?: boolean;
  submodules?: boolean;
  mtime?: 'checkout' | 'commit';
  fetchByCommit?: boolean;
  /** Whether it is `github.com/…` without a protocol: in COPY and ADD that is a local path. */
  looksLocal: boolean;
}

/**
 * Reads a git repository's address; undefined when the text names none (an http URL must end in `.git`). Throws
 * `invalid` (hop `git`) for query parameters that are unknown or contradict each other.
 */
export function parseGitRef(text: string): GitAddress | undefined {
  if (text.startsWith('./') || text.startsWith('../')) return undefined;
  const looksLocal = text.startsWith('github.com/');
  let remote: GitRemote | undefined;
  if (looksLocal) remote = parseGitRemote(`https://${text}`);
  else if (!isRemoteUrl(text)) return undefined;
  else remote = parseGitRemote(text);
  if (remote === undefined) return undefined;
  const web = remote.scheme === 'http' || remote.scheme === 'https';
  if (web && !looksLocal && !remote.path.endsWith('.git')) return undefined;
  const [ref = '', ...rest] = remote.fragment.split(':');
  const result: GitAddress = { remote: remote.url, ref, subdir: cleanSubdir(rest.join(':')), looksLocal };
  readQuery(result, remote.query, text);
  return result;
}

function cleanSubdir(subdir: string): string {
  const parts: string[] = [];
  for (const part of subdir.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

function readQuery(result: GitAddress, query: URLSearchParams, text: string): void {
  const bad = (why: string) => fail('invalid', 'git', `${why} in ${JSON.stringify(text)}`);
  const once = (name: string, old: string, value: string): string => {
    if (old !== '' && old !== value)
      throw bad(`${name} conflicts: ${JSON.stringify(old)} vs ${JSON.stringify(value)}`);
    return value;
  };
  const flag = (name: string, value: string): boolean => {
    const on = value === '' ? true : parseBool(value);
    if (on !== undefined) return on;
    throw bad(`invalid ${name} value: ${JSON.stringify(value)}`);
  };
  const seen = new Set<string>();
  const flags = ['keep-git-dir', 'submodules', 'fetch-by-commit'];
  const prefixed = (prefix: string, value: string) => (value.startsWith(prefix) ? value : prefix + value);
  for (const [name, value] of query) {
    if (seen.has(name)) throw bad(`query ${JSON.stringify(name)} has multiple values`);
    seen.add(name);
    if (value === '' && !flags.includes(name)) throw bad(`query ${JSON.stringify(name)} has no value`);
    if (name === 'ref') result.ref = once('ref', result.ref, value);
    else if (name === 'subdir') result.subdir = cleanSubdir(once('subdir', result.subdir, value));
    else if (name === 'checksum' || name === 'commit') result.checksum = value;
    else if (name === 'keep-git-dir') result.keepGitDir = flag(name, value);
    else if (name === 'submodules') result.submodules = flag(name, value);
    else if (name === 'fetch-by-commit') result.fetchByCommit = flag(name, value);
    else if (name === 'mtime') {
      if (value !== 'checkout' && value !== 'commit')
        throw bad(`invalid mtime value: ${JSON.stringify(value)}`);
      result.mtime = value;
    } else if (name !== 'tag' && name !== 'branch') throw bad(`unexpected query ${JSON.stringify(name)}`);
  }
  const tag = query.get('tag');
  const branch = query.get('branch');
  if (tag !== null && branch !== null) throw bad('branch conflicts with tag');
  if (tag !== null) result.ref = once('ref', result.ref, prefixed('refs/tags/', tag));
  if (branch !== null) result.ref = once('ref', result.ref, prefixed('refs/heads/', branch));
}

/** The tree of a git repository. */
export function gitState(ref: GitAddress, options: OpOptions & { keepGitDir?: boolean } = {}): State {
  return git(ref.remote, ref.ref, {
    ...options,
    keepGitDir: options.keepGitDir || ref.keepGitDir,
    subdir: ref.subdir,
    checksum: ref.checksum,
    skipSubmodules: ref.submodules === false,
    mtime: ref.mtime,
    fetchByCommit: ref.fetchByCommit,
  });
}
