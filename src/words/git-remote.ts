import { fail } from '../errors/index.ts';

/** A git remote, however it was written. */
export interface GitRemote {
  scheme: 'http' | 'https' | 'ssh' | 'git';
  /** The host, with user and port. */
  host: string;
  path: string;
  /** The URL for git. */
  url: string;
  query: URLSearchParams;
  /** The text after `#`. */
  fragment: string;
}

/**
 * Parses `https://host/path`, `ssh://…`, `git://…`, `http://…`, `git@host:path` and `host/path` (https). Throws
 * `invalid` on another protocol.
 */
export function gitRemote(text: string): GitRemote {
  return parseGitRemote(text) ?? parseGitRemote(`https://${text}`) ?? unknown(text);
}

function unknown(text: string): never {
  throw fail('invalid', 'git', `${JSON.stringify(text)} is no git remote`);
}

/** Does the same as `gitRemote`, but returns undefined for a text with neither a protocol nor `user@host:` in front. */
export function parseGitRemote(text: string): GitRemote | undefined {
  const proto = /^([a-zA-Z0-9]+):\/\//.exec(text)?.[1]?.toLowerCase();
  if (proto === undefined) return parseScp(text);
  if (proto !== 'http' && proto !== 'https' && proto !== 'ssh' && proto !== 'git') {
    throw fail('invalid', 'git', `invalid protocol ${proto} in ${JSON.stringify(text)}`, {
      hint: 'A git remote is an http, https, ssh or git URL.',
    });
  }
  const { body, query, fragment } = splitTail(text);
  const rest = body.slice(body.indexOf('://') + 3);
  const slash = rest.indexOf('/');
  const authority = slash < 0 ? rest : rest.slice(0, slash);
  return {
    scheme: proto,
    host: authority.slice(authority.lastIndexOf('@') + 1),
    path: slash < 0 ? '' : rest.slice(slash),
    url: body,
    query,
    fragment,
  };
}

/** Parses `user@host:path`, the form of scp and git. */
function parseScp(text: string): GitRemote | undefined {
  const { body, query, fragment } = splitTail(text);
  const match = /^([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):(.+)$/.exec(body);
  if (match === null) return undefined;
  const [, , host = '', path = ''] = match;
  return { scheme: 'ssh', host, path, url: body, query, fragment };
}

function splitTail(text: string): { body: string; query: URLSearchParams; fragment: string } {
  const hash = text.indexOf('#');
  const head = hash < 0 ? text : text.slice(0, hash);
  const mark = head.indexOf('?');
  return {
    body: mark < 0 ? head : head.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? '' : head.slice(mark + 1)),
    fragment: hash < 0 ? '' : text.slice(hash + 1),
  };
}

/** The identifier `git://host/path#ref:subdir`, one for each repository, whatever its protocol. */
export function gitIdentifier(remote: GitRemote, ref: string, subdir: string): string {
  const path = `/${remote.path.replace(/^\/+/, '')}`;
  const base = `git://${remote.host}${path === '/' ? '' : path}`;
  if (ref === '' && subdir === '') return base;
  return `${base}#${ref}${subdir === '' ? '' : `:${subdir}`}`;
}
