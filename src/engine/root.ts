import { resolve } from 'node:path';
import { dataFolder } from '../linux/index.ts';

/**
 * The default root folder: $DRYDOCK_ROOT, else /var/lib/drydock for root and a folder in the user's data folder for
 * others.
 */
export function defaultRoot(env: NodeJS.ProcessEnv = process.env): string {
  return env.DRYDOCK_ROOT ? resolve(env.DRYDOCK_ROOT) : dataFolder('drydock', env);
}
