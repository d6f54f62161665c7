/** The attributes of caches in buckets, read and checked. Pure. https://github.com/moby/buildkit#export-cache */
import { posix } from 'node:path';
import { fail } from '../../errors/index.ts';
import type { ObjectStoreSpec } from '../../object-store/index.ts';
import type { Digest } from '../../oci/index.ts';
import { durationMs, parseBool } from '../../words/index.ts';
import type { CacheSpec } from '../types.ts';

/** A cache in a bucket. */
export interface BucketPlace {
  type: 'bucket';
  kind: 's3' | 'azblob';
  store: ObjectStoreSpec;
  /** The bucket as an operator names it: `s3://bucket`, or the URL of a bucket or container. */
  address: string;
  /** The credentials are those of this machine: the attributes have none. */
  isMachine: boolean;
  /** The keys of the configs, by the cache's names. */
  configs: readonly string[];
  blob(digest: Digest): string;
  /** What the keys of all blobs, and of all configs, begin with. */
  prefixes: { blobs: string; configs: string };
  /** How old (ms) a layer is before it is made young again. */
  touchMs: number;
  /** How many layers are sent at one time. */
  atOnce: number;
  tries?: number;
  adaptive: boolean;
}

type Attrs = CacheSpec['attrs'];
type Env = Readonly<Record<string, string | undefined>>;

/** The attributes of both, and of each, besides those of exports. */
export const bucketAttrs: Readonly<Record<BucketPlace['kind'], readonly string[]>> = {
  s3: [
    ...['bucket', 'region', 'prefix', 'manifests_prefix', 'blobs_prefix', 'name', 'touch_refresh'],
    ...['endpoint_url', 'access_key_id', 'secret_access_key', 'session_token', 'use_path_style'],
    ...['upload_parallelism', 'disable_accept_encoding', 'retry_mode', 'retry_max_attempts'],
  ],
  azblob: [
    ...['account_url', 'account_name', 'container', 'prefix', 'manifests_prefix', 'blobs_prefix', 'name'],
    ...['secret_access_key', 'sas_token', 'client_id', 'touch_refresh', 'upload_parallelism'],
  ],
};

/**
 * Reads the place of a cache in S3. What the attributes leave out is taken from AWS's variables, as BuildKit does.
 * Throws `invalid` (hop `cache`).
 */
export function s3Place(attrs: Attrs, env: Env): BucketPlace {
  const bucket = attrs.bucket || env.AWS_BUCKET;
  const region = attrs.region || env.AWS_REGION || env.AWS_DEFAULT_REGION;
  if (!bucket) throw bad('s3', 'bucket= is missing, and AWS_BUCKET is not set');
  if (!region) throw bad('s3', 'region= is missing, and AWS_REGION is not set');
  const { access_key_id: id, secret_access_key: secret, session_token: token } = attrs;
  if (!id !== !secret) throw bad('s3', 'access_key_id= and secret_access_key= go together');
  const isMachine = !id || !secret;
  const own = isMachine ? env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL : undefined;
  const endpoint = attrs.endpoint_url || own || undefined;
  const prefix = attrs.prefix ?? '';
  const blobs = prefix + (attrs.blobs_prefix ?? 'blobs/');
  const configs = prefix + (attrs.manifests_prefix ?? 'manifests/');
  const mode = attrs.retry_mode;
  if (mode !== undefined && mode !== 'standard' && mode !== 'adaptive') {
    throw bad('s3', 'retry_mode= is standard or adaptive');
  }
  return {
    ...{ type: 'bucket', kind: 's3', isMachine },
    store: {
      ...{ type: 's3', bucket, region, endpoint },
      pathStyle: yes('s3', attrs, 'use_path_style'),
      keys: isMachine ? 'machine' : { accessKeyId: id, secretAccessKey: secret, sessionToken: token },
    },
    address: endpoint === undefined ? `s3://${bucket}` : `${endpoint.replace(/\/$/, '')}/${bucket}`,
    configs: namesOf(attrs).map((name) => configs + name),
    blob: (digest) => blobs + digest,
    prefixes: { blobs, configs },
    touchMs: touchOf('s3', attrs),
    atOnce: positive('s3', attrs, 'upload_parallelism') ?? 4,
    tries: positive('s3', attrs, 'retry_max_attempts'),
    adaptive: mode === 'adaptive',
  };
}

/** Reads the place of a cache in Azure Blob Storage. Throws `invalid` (hop `cache`). */
export function azurePlace(attrs: Attrs, env: Env): BucketPlace {
  const text = attrs.account_url || env.BUILDKIT_AZURE_STORAGE_ACCOUNT_URL;
  if (!text)
    throw bad('azblob', 'account_url= is missing, and BUILDKIT_AZURE_STORAGE_ACCOUNT_URL is not set');
  if (!URL.canParse(text)) throw bad('azblob', 'account_url= is no URL');
  const url = new URL(text);
  // A URL that was handed out with its signature.
  const sas = attrs.sas_token || url.search;
  url.search = '';
  const account =
    attrs.account_name || env.BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME || (url.hostname.split('.')[0] as string);
  const container = attrs.container || env.BUILDKIT_AZURE_STORAGE_CONTAINER || 'buildkit-cache';
  const prefix = attrs.prefix ?? env.BUILDKIT_AZURE_STORAGE_PREFIX ?? '';
  // Unlike those of S3, these are joined as paths are.
  const join = (...parts: string[]) => posix.join(prefix, ...parts).replace(/^\//, '');
  const blobs = attrs.blobs_prefix ?? 'blobs';
  const configs = attrs.manifests_prefix ?? 'manifests';
  const key = attrs.secret_access_key;
  const accountUrl = url.href.replace(/\/$/, '');
  return {
    ...{ type: 'bucket', kind: 'azblob', isMachine: !key && !sas },
    store: {
      ...{ type: 'azblob', accountUrl, container },
      proof: key
        ? { type: 'key', account, key }
        : sas
          ? { type: 'sas', query: sas.replace(/^\?/, '') }
          : { type: 'identity', clientId: attrs.client_id || undefined },
    },
    address: `${accountUrl}/${container}`,
    configs: namesOf(attrs).map((name) => join(configs, name)),
    blob: (digest) => join(blobs, digest),
    prefixes: { blobs: join(blobs, '/'), configs: join(configs, '/') },
    touchMs: touchOf('azblob', attrs),
    atOnce: positive('azblob', attrs, 'upload_parallelism') ?? 4,
    adaptive: false,
  };
}

function namesOf({ name }: Attrs): string[] {
  const names = (name ?? '').split(';').filter((each) => each !== '');
  return names.length === 0 ? ['buildkit'] : names;
}

function touchOf(kind: string, { touch_refresh: text }: Attrs): number {
  if (text === undefined) return 24 * 3600_000;
  const ms = durationMs(text);
  if (ms === undefined || ms < 0) throw bad(kind, 'touch_refresh= is no duration, such as 24h');
  return ms;
}

function positive(kind: string, attrs: Attrs, name: string): number | undefined {
  const text = attrs[name];
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw bad(kind, `${name}= must be a positive integer`);
}

function yes(kind: string, attrs: Attrs, name: string): boolean {
  const text = attrs[name];
  const value = text === undefined ? false : text === '' ? true : parseBool(text);
  if (value !== undefined) return value;
  throw bad(kind, `${name}= is true or false`);
}

function bad(kind: string, why: string) {
  return fail('invalid', 'cache', `cache type=${kind}: ${why}`);
}
