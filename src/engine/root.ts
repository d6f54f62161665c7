import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { rootlessUser } from '../linux/index.ts';

/**
 * The default root folder: $DRYDOCK_ROOT, else /var/lib/drydock for root and a folder in the user's data folder for
 * others.
 */
export function defaultRoot(env: NodeJS.ProcessEnv = process.env): string {
  if (env.DRYDOCK_ROOT) return resolve(env.DRYDOCK_ROOT);
  if (process.getuid?.() === 0 && rootlessUser(env) === undefined) return '/var/lib/drydock';
  return join(env.XDG_DATA_HOME || join(homedir(), '.local/share'), 'drydock');
}
