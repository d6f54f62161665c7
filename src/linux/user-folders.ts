/**
 * Where settings, data and sockets are: the machine's folders for root, the user's for others.
 * https://specifications.freedesktop.org/basedir-spec/latest/
 */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { rootlessUser } from './user-namespace.ts';

/** Whether this process works for root: a user's namespace has a root too, who works for that user. */
function isRoots(env: NodeJS.ProcessEnv): boolean {
  return process.getuid?.() === 0 && rootlessUser(env) === undefined;
}

function home(env: NodeJS.ProcessEnv): string {
  return env.HOME || homedir();
}

/** The folder of a program's settings: `/etc/NAME`, or NAME in the user's folder of settings. */
export function configFolder(name: string, env: NodeJS.ProcessEnv = process.env): string {
  return isRoots(env) ? join('/etc', name) : join(env.XDG_CONFIG_HOME || join(home(env), '.config'), name);
}

/** The folder of a program's state: `/var/lib/NAME`, or NAME in the user's data folder. */
export function dataFolder(name: string, env: NodeJS.ProcessEnv = process.env): string {
  return isRoots(env)
    ? join('/var/lib', name)
    : join(env.XDG_DATA_HOME || join(home(env), '.local/share'), name);
}

/** The folder of sockets: `/run`, or the user's; undefined when the user has none. */
export function runtimeFolder(env: NodeJS.ProcessEnv = process.env): string | undefined {
  return isRoots(env) ? '/run' : env.XDG_RUNTIME_DIR || undefined;
}
