/**
 * Where settings, data and sockets are: the machine's folders for root, the user's for others.
 * https://specifications.freedesktop.org/basedir-spec/latest/
 */
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { rootlessUser } from './user-namespace.ts';

/** Whether this process works for root: a user's namespace has a root too, who works for that user. */
function isRoots(env: NodeJS.ProcessEnv): boolean {
  return process.getuid?.() === 0 && rootlessUser(env) === undefined;
}

/** The user's home. One without it and without a line in /etc/passwd has `/`, as in containers. */
export function homeFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.HOME) return env.HOME;
  try {
    return homedir();
  } catch {
    return '/';
  }
}

/** A folder of the user: what a variable names, unless that is relative, or a default in the home. */
function userFolder(env: NodeJS.ProcessEnv, variable: string, otherwise: string): string {
  const given = env[variable];
  return given !== undefined && isAbsolute(given) ? given : join(homeFolder(env), otherwise);
}

/** The folder of a program's settings: `/etc/NAME`, or NAME in the user's folder of settings. */
export function configFolder(name: string, env: NodeJS.ProcessEnv = process.env): string {
  return isRoots(env) ? join('/etc', name) : join(userFolder(env, 'XDG_CONFIG_HOME', '.config'), name);
}

/** The folder of a program's state: `/var/lib/NAME`, or NAME in the user's data folder. */
export function dataFolder(name: string, env: NodeJS.ProcessEnv = process.env): string {
  return isRoots(env) ? join('/var/lib', name) : join(userFolder(env, 'XDG_DATA_HOME', '.local/share'), name);
}

/** The folder of what a user's program can make again: NAME in the user's folder of caches. */
export function cacheFolder(name: string, env: NodeJS.ProcessEnv = process.env): string {
  return join(userFolder(env, 'XDG_CACHE_HOME', '.cache'), name);
}

/** The folder of sockets: `/run`, or the user's; undefined when the user has none. */
export function runtimeFolder(env: NodeJS.ProcessEnv = process.env): string | undefined {
  return isRoots(env) ? '/run' : env.XDG_RUNTIME_DIR || undefined;
}
