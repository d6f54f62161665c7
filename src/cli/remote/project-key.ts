/** What makes out a project, wherever it is checked out: so that its builds go to the daemon which knows them. */
import { readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/**
 * The key of the project in a folder: the address of its git remote `origin`, without the way there and the account, and
 * the folder's place in the repository. `git@github.com:you/web.git` and `https://github.com/you/web` are one. A folder in
 * no repository, or in one without that remote, has its own path for a key.
 */
export function projectKey(folder: string): string {
  const top = repositoryOf(folder);
  if (top === undefined) return folder;
  const origin = originOf(top.config);
  return origin === undefined ? top.folder : remoteKey(origin);
}

function repositoryOf(folder: string): { folder: string; config: string } | undefined {
  for (let at = resolve(folder); ; at = dirname(at)) {
    const config = configIn(join(at, '.git'));
    if (config !== undefined) return { folder: at, config };
    if (at === dirname(at)) return undefined;
  }
}

/** The configuration of a repository; a worktree's `.git` is a file that names another folder. */
function configIn(git: string): string | undefined {
  try {
    if (statSync(git).isDirectory()) return readFileSync(join(git, 'config'), 'utf8');
    const named = /^gitdir: (.+)$/m.exec(readFileSync(git, 'utf8'))?.[1];
    if (named === undefined) return undefined;
    const own = resolve(dirname(git), named);
    let common = own;
    try {
      common = resolve(own, readFileSync(join(own, 'commondir'), 'utf8').trim());
    } catch {
      // A submodule's folder has its own configuration.
    }
    return readFileSync(join(common, 'config'), 'utf8');
  } catch {
    return undefined;
  }
}

function originOf(config: string): string | undefined {
  const section = /^\s*\[remote "origin"\]\s*$([\s\S]*?)(?=^\s*\[|$(?![\s\S]))/m.exec(config)?.[1];
  return section === undefined ? undefined : /^\s*url\s*=\s*(\S+)/m.exec(section)?.[1];
}

/** An address of git without scheme, account, port and `.git`: `github.com/you/web`. Pure. */
function remoteKey(address: string): string {
  const url = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/@]*@)?([^/:]*)(?::\d+)?\/*(.*)$/i.exec(address);
  const scp = /^(?:[^/@:]+@)?([^/:]+):(.*)$/.exec(address);
  const [, host, path] = url ?? scp ?? [undefined, '', address];
  const clean = (path ?? '')
    .replace(/^\/+/, '')
    .replace(/\/+$/, '')
    .replace(/\.git$/, '');
  return host ? `${host.toLowerCase()}/${clean}` : `/${clean}`;
}
