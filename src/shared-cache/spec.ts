/** The place of a fleet's cache as a setting names it. Pure. */
import { isAbsolute, resolve } from 'node:path';
import { fail } from '../errors/index.ts';
import type { ObjectStoreSpec } from '../object-store/index.ts';
import { normalizeName } from '../oci/index.ts';
import { daysAndWeeks, durationMs, parseBool } from '../words/index.ts';

export interface SharedCacheSpec {
  place:
    | { type: 'objects'; store: ObjectStoreSpec /** What all keys begin with. */; prefix: string }
    | { type: 'registry' /** A repository, normalized. */; ref: string; insecure: boolean };
  /** The name in messages, without secrets. */
  name: string;
  /** Nothing is written there. */
  readOnly: boolean;
  /** The longest time that one question may take, ms. */
  timeout: number;
  /** What was not used for so long is removed, ms; undefined: nothing is. */
  keep: number | undefined;
}

const day = 24 * 3600_000;
const common = ['read-only', 'timeout', 'keep'];
const forms =
  's3://BUCKET/PREFIX, azblob://ACCOUNT/CONTAINER/PREFIX, dir:/FOLDER, or a repository of a registry';

/**
 * Reads `s3://bucket/prefix?region=…`, `azblob://account/container/prefix`, `dir:/folder`, or `reg.example/cache` with
 * `?read-only=true&timeout=3s&keep=30d` behind it. What S3 and Azure want to know besides is in their own variables.
 * Throws `invalid` (hop `cache`).
 */
export function parseSharedCache(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): SharedCacheSpec {
  const at = text.indexOf('?');
  const path = at < 0 ? text : text.slice(0, at);
  const query = new Map(new URLSearchParams(at < 0 ? '' : text.slice(at + 1)));
  const take = (name: string) => {
    const value = query.get(name);
    query.delete(name);
    return value;
  };
  const yes = (name: string) => {
    const value = take(name);
    const read = value === undefined ? false : value === '' ? true : parseBool(value);
    if (read === undefined) throw bad(path, `${name}=${value} is neither true nor false`);
    return read;
  };
  const time = (name: string, otherwise: number) => {
    const value = take(name);
    if (value === undefined) return otherwise;
    const read = durationMs(value, daysAndWeeks);
    if (read === undefined || !(read > 0))
      throw bad(path, `${name}=${value} is no length of time, as 3s or 30d`);
    return read;
  };
  const readOnly = yes('read-only');
  const timeout = time('timeout', 3000);
  const keep = query.get('keep') === 'forever' ? void query.delete('keep') : time('keep', 30 * day);
  const place = placeOf(path, take, yes, env);
  const [unknown] = query.keys();
  if (unknown !== undefined) {
    throw fail('invalid', 'cache', `shared cache ${path}: unknown option ${unknown}`, {
      hint: `Options: ${[...common, ...(place.type === 'registry' ? ['insecure'] : ['region', 'endpoint_url', 'use_path_style', 'profile', 'account_url'])].join(', ')}.`,
    });
  }
  return { place, name: path, readOnly, timeout, keep };
}

function placeOf(
  path: string,
  take: (name: string) => string | undefined,
  yes: (name: string) => boolean,
  env: Readonly<Record<string, string | undefined>>,
): SharedCacheSpec['place'] {
  const [, scheme, rest = ''] = /^([a-z0-9]+):\/\/(.*)$/s.exec(path) ?? [];
  if (path.startsWith('dir:')) {
    const dir = path.slice('dir:'.length).replace(/^\/\//, '');
    if (!isAbsolute(dir)) throw bad(path, 'a folder is named by its whole path, dir:/FOLDER');
    return { type: 'objects', store: { type: 'folder', dir: resolve(dir) }, prefix: '' };
  }
  if (scheme === 's3') {
    const [bucket = '', ...prefix] = rest.split('/');
    const region = take('region') ?? env.AWS_REGION ?? env.AWS_DEFAULT_REGION;
    if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) throw bad(path, 'it names no bucket');
    if (!region) throw bad(path, 'region= is missing, and AWS_REGION is not set');
    const endpoint = take('endpoint_url') ?? env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL;
    const profile = take('profile');
    const store: ObjectStoreSpec = {
      ...{ type: 's3', bucket, region, keys: 'machine', pathStyle: yes('use_path_style') },
      ...(endpoint ? { endpoint } : {}),
      ...(profile ? { profile } : {}),
    };
    return { type: 'objects', store, prefix: prefixOf(prefix) };
  }
  if (scheme === 'azblob') {
    const [account = '', container = '', ...prefix] = rest.split('/');
    if (account === '' || container === '') throw bad(path, 'it names no account and container');
    const accountUrl = (take('account_url') ?? `https://${account}.blob.core.windows.net`).replace(/\/$/, '');
    const { AZURE_STORAGE_KEY: key, AZURE_STORAGE_SAS_TOKEN: sas, AZURE_CLIENT_ID: clientId } = env;
    const store: ObjectStoreSpec = {
      ...{ type: 'azblob', accountUrl, container },
      proof: key
        ? { type: 'key', account, key }
        : sas
          ? { type: 'sas', query: sas.replace(/^\?/, '') }
          : { type: 'identity', ...(clientId ? { clientId } : {}) },
    };
    return { type: 'objects', store, prefix: prefixOf(prefix) };
  }
  if (scheme !== undefined && scheme !== 'registry') throw bad(path, `${scheme}:// is not known`);
  const name = scheme === 'registry' ? rest : path;
  if (/@|:[^/]*$/.test(name)) throw bad(path, 'a repository has no tag and no digest: its tags are the keys');
  return { type: 'registry', ref: normalizeName(name).replace(/:latest$/, ''), insecure: yes('insecure') };
}

function prefixOf(parts: readonly string[]): string {
  const named = parts.filter((part) => part !== '');
  return named.length === 0 ? '' : `${named.join('/')}/`;
}

function bad(path: string, why: string) {
  return fail('invalid', 'cache', `shared cache ${path}: ${why}`, { hint: `Forms: ${forms}.` });
}
