/**
 * Credentials as `docker login` keeps them: the auths in config.json, and the credential helpers that it names.
 * https://docs.docker.com/reference/cli/docker/login/#credential-stores
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode, fail } from '../errors/index.ts';
import { homeFolder } from '../linux/index.ts';
import type { CredentialSource, RegistryCredentials } from '../oci/index.ts';
import { hostOfAddress, withoutEnd } from '../words/index.ts';
import { helperFault, runHelper } from './credential-helper.ts';

interface ConfigFile {
  auths: Record<string, AuthEntry>;
  credHelpers: Record<string, string>;
  credsStore?: string;
}

interface AuthEntry {
  auth?: string;
  username?: string;
  password?: string;
  identitytoken?: string;
  registrytoken?: string;
}

const hubKey = 'https://index.docker.io/v1/';

/**
 * Looks registries up in `$DOCKER_CONFIG/config.json`, else in `~/.docker/config.json`. The file is read, and helpers
 * are run, at the first question; answers are remembered. Undefined when there is no file or no entry. Rejects with
 * `invalid` (hop `client`) when the file is not JSON, and with `unauthenticated` when a helper fails.
 */
export function dockerConfigCredentials(env: NodeJS.ProcessEnv): CredentialSource {
  let config: Promise<ConfigFile> | undefined;
  const known = new Map<string, Promise<RegistryCredentials | undefined>>();
  return (host) => {
    let found = known.get(host);
    if (found === undefined) {
      config ??= readConfig(env);
      found = config.then((file) => lookUp(file, host, env));
      known.set(host, found);
    }
    return found;
  };
}

async function readConfig(env: NodeJS.ProcessEnv): Promise<ConfigFile> {
  const path = join(env.DOCKER_CONFIG || join(homeFolder(env), '.docker'), 'config.json');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (err) {
    const code = errnoCode(err);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return { auths: {}, credHelpers: {} };
    throw fail('invalid', 'client', `cannot read ${path}: ${(err as Error).message}`, { cause: err });
  }
  try {
    const parsed: unknown = JSON.parse(text);
    if (!isRecord(parsed)) throw new Error('it holds no object');
    return {
      auths: records(parsed.auths),
      credHelpers: strings(parsed.credHelpers),
      credsStore:
        typeof parsed.credsStore === 'string' && parsed.credsStore !== '' ? parsed.credsStore : undefined,
    };
  } catch (cause) {
    throw fail('invalid', 'client', `${path} is not valid JSON`, {
      cause,
      hint: 'Mend the file, or log in again with `docker login`.',
    });
  }
}

async function lookUp(
  config: ConfigFile,
  host: string,
  env: NodeJS.ProcessEnv,
): Promise<RegistryCredentials | undefined> {
  const helper = config.credHelpers[host] ?? config.credHelpers[hostOfAddress(host)] ?? config.credsStore;
  if (helper !== undefined) {
    const found = await askHelper(helper, host, env);
    if (found !== undefined) return found;
  }
  const entry = config.auths[host] ?? config.auths[hostOfAddress(host)] ?? byHost(config.auths, host);
  return entry === undefined ? undefined : credentialsOf(entry, host);
}

/** The entry of a host. Old files have keys such as `https://host/v1/`. */
function byHost(auths: Record<string, AuthEntry>, host: string): AuthEntry | undefined {
  for (const [key, entry] of Object.entries(auths)) {
    if (hostOfAddress(key) === hostOfAddress(host) || (host === hubKey && hostOfAddress(key) === 'docker.io'))
      return entry;
  }
  return undefined;
}

function credentialsOf(entry: AuthEntry, host: string): RegistryCredentials | undefined {
  let { username, password } = entry;
  if (entry.auth) {
    const text = withoutEnd(Buffer.from(entry.auth, 'base64').toString('utf8'), '\0');
    const colon = text.indexOf(':');
    if (colon < 0) {
      throw fail(
        'invalid',
        'client',
        `the credentials of ${host} in docker's config.json are not user:password`,
        {
          hint: `Log in again with \`docker login ${host === hubKey ? '' : host}\`.`,
        },
      );
    }
    username = text.slice(0, colon);
    password = text.slice(colon + 1);
  }
  const out: RegistryCredentials = {};
  if (username) out.username = username;
  if (password) out.password = password;
  if (entry.identitytoken) out.identityToken = entry.identitytoken;
  if (entry.registrytoken) out.registryToken = entry.registrytoken;
  return Object.keys(out).length === 0 ? undefined : out;
}

async function askHelper(
  name: string,
  host: string,
  env: NodeJS.ProcessEnv,
): Promise<RegistryCredentials | undefined> {
  const stdout = await runHelper(name, 'get', host, host, env);
  if (stdout === undefined) return undefined;
  let answer: unknown;
  try {
    answer = JSON.parse(stdout);
  } catch (cause) {
    throw helperFault(name, host, 'its answer is not JSON', cause);
  }
  if (!isRecord(answer) || typeof answer.Secret !== 'string') {
    throw helperFault(name, host, 'its answer has no Secret');
  }
  if (answer.Username === '<token>') return { identityToken: answer.Secret };
  return { username: String(answer.Username ?? ''), password: answer.Secret };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function records(value: unknown): Record<string, AuthEntry> {
  if (!isRecord(value)) return {};
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => isRecord(entry))) as Record<
    string,
    AuthEntry
  >;
}

function strings(value: unknown): Record<string, string> {
  if (!isRecord(value)) return {};
  return Object.fromEntries(
    Object.entries(value).filter(
      (pair): pair is [string, string] => typeof pair[1] === 'string' && pair[1] !== '',
    ),
  );
}
