/** Writes accounts as `docker login` does: into config.json, or into the credential store that it names. */
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoCode, fail } from '../errors/index.ts';
import { homeFolder } from '../linux/index.ts';
import { hostOfAddress } from '../words/index.ts';
import { runHelper } from './credential-helper.ts';

/** Where an account was put. */
interface Kept {
  /** The file, or the name of the helper's program. */
  where: string;
  /** Whether it lies there unencrypted. */
  plain: boolean;
}

type Json = Record<string, unknown>;

/** The path of docker's config.json, as `DOCKER_CONFIG` and `HOME` say. */
function dockerConfigFile(env: NodeJS.ProcessEnv): string {
  return join(env.DOCKER_CONFIG || join(homeFolder(env), '.docker'), 'config.json');
}

/**
 * Keeps an account of a registry, under the key that docker has for it. Throws `invalid` for a file that is no JSON and
 * `unauthenticated` when the credential helper fails; the file is then as it was.
 */
export async function keepAccount(
  key: string,
  { username, password }: { username: string; password: string },
  env: NodeJS.ProcessEnv,
): Promise<Kept> {
  const file = dockerConfigFile(env);
  const config = read(file);
  const helper = helperOf(config, key);
  if (helper !== undefined) {
    await runHelper(
      helper,
      'store',
      JSON.stringify({ ServerURL: key, Username: username, Secret: password }),
      key,
      env,
    );
    // docker lists the server, without the account.
    write(file, { ...config, auths: { ...object(config.auths), [key]: {} } });
    return { where: `docker-credential-${helper}`, plain: false };
  }
  const auth = Buffer.from(`${username}:${password}`).toString('base64');
  write(file, { ...config, auths: { ...object(config.auths), [key]: { auth } } });
  return { where: file, plain: true };
}

/** Forgets the account of a registry; false when there was none. Throws as `keepAccount`. */
export async function forgetAccount(key: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const file = dockerConfigFile(env);
  const config = read(file);
  const helper = helperOf(config, key);
  const auths = object(config.auths);
  const same = Object.keys(auths).filter(
    (each) => each === key || hostOfAddress(each) === hostOfAddress(key),
  );
  if (helper !== undefined) await runHelper(helper, 'erase', key, key, env);
  if (same.length === 0) return false;
  write(file, {
    ...config,
    auths: Object.fromEntries(Object.entries(auths).filter(([each]) => !same.includes(each))),
  });
  return true;
}

function helperOf(config: Json, key: string): string | undefined {
  const helpers = object(config.credHelpers);
  const found = helpers[key] ?? helpers[hostOfAddress(key)] ?? config.credsStore;
  return typeof found === 'string' && found !== '' ? found : undefined;
}

function read(file: string): Json {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    if (errnoCode(cause) === 'ENOENT') return {};
    throw fail('invalid', 'client', `cannot read ${file} (${errnoCode(cause)})`, { cause });
  }
  try {
    const value: unknown = text.trim() === '' ? {} : JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  } catch {
    // Said below.
  }
  throw fail('invalid', 'client', `${file} is not valid JSON`, {
    hint: 'Mend the file first; nothing was written.',
  });
}

/** The file appears whole, for its owner alone, at the place that a link leads to. */
function write(file: string, config: Json): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  let target = file;
  let mode = 0o600;
  try {
    target = realpathSync(file);
    mode = statSync(target).mode & 0o777;
  } catch {
    // There is none yet.
  }
  const part = `${target}.${randomUUID()}`;
  try {
    writeFileSync(part, `${JSON.stringify(config, undefined, '\t')}\n`, { mode: 0o600 });
    chmodSync(part, mode);
    renameSync(part, target);
  } catch (cause) {
    rmSync(part, { force: true });
    throw fail('denied', 'client', `cannot write ${target} (${errnoCode(cause)})`, { cause });
  }
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}
