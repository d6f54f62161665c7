/**
 * The proxies of docker's config.json, which docker and buildx give to builds as build arguments.
 * https://docs.docker.com/engine/cli/proxy/
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { homeFolder } from '../linux/index.ts';

/** The members of an entry, and the variables that programs know them by. */
const variables = {
  httpProxy: 'HTTP_PROXY',
  httpsProxy: 'HTTPS_PROXY',
  ftpProxy: 'FTP_PROXY',
  noProxy: 'NO_PROXY',
  allProxy: 'ALL_PROXY',
} as const;

/**
 * The build arguments that lead steps to the client's proxies, each in upper and in lower case. `host`: the daemon that
 * builds, whose entry goes before `default`. A file that is not there, or cannot be read, has none.
 */
export function dockerProxies(env: NodeJS.ProcessEnv, host = ''): Record<string, string> {
  let entry: Record<string, unknown> | undefined;
  try {
    const path = join(env.DOCKER_CONFIG || join(homeFolder(env), '.docker'), 'config.json');
    const { proxies } = JSON.parse(readFileSync(path, 'utf8')) as {
      proxies?: Record<string, Record<string, unknown>>;
    };
    entry = proxies?.[host] ?? proxies?.default;
  } catch {
    return {};
  }
  const found: Record<string, string> = {};
  for (const [member, name] of Object.entries(variables)) {
    const value = entry?.[member];
    if (typeof value !== 'string' || value === '') continue;
    found[name] = value;
    found[name.toLowerCase()] = value;
  }
  return found;
}
