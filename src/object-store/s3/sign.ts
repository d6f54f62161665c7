/**
 * AWS Signature Version 4 for S3, in headers.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
import { createHash, createHmac } from 'node:crypto';

export interface AwsKeys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

interface Unsigned {
  method: string;
  /** Its path is escaped as keys are; its query has been made by URLSearchParams. */
  url: URL;
  headers: Readonly<Record<string, string>>;
  /** The body, if it is to be signed as well. Streams are not: TLS guards them, and their digest is their name. */
  bytes?: Uint8Array;
}

/** Headers that proxies may change or add. */
const unsigned = new Set(['content-length', 'user-agent', 'accept-encoding', 'expect']);

/** Gives the headers of a request with its signature among them. `now`: ms since the epoch. Pure. */
export function signV4(
  { method, url, headers, bytes }: Unsigned,
  { accessKeyId, secretAccessKey, sessionToken }: AwsKeys,
  region: string,
  now: number,
): Record<string, string> {
  const time = new Date(now).toISOString().replace(/[-:]|\.\d+/g, '');
  const day = time.slice(0, 8);
  const payload = method === 'GET' || method === 'HEAD' || method === 'DELETE' ? new Uint8Array() : bytes;
  const sum = payload === undefined ? 'UNSIGNED-PAYLOAD' : sha256(payload);
  const all: Record<string, string> = {
    ...headers,
    'x-amz-content-sha256': sum,
    'x-amz-date': time,
    ...(sessionToken === undefined || sessionToken === '' ? {} : { 'x-amz-security-token': sessionToken }),
  };
  const signed = Object.entries({ ...all, host: url.host })
    .map(([name, value]) => [name.toLowerCase(), value.trim().replace(/ +/g, ' ')] as const)
    .filter(([name]) => !unsigned.has(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const names = signed.map(([name]) => name).join(';');
  const canonical = [
    method,
    url.pathname,
    canonicalQuery(url.searchParams),
    ...signed.map(([name, value]) => `${name}:${value}`),
    '',
    names,
    sum,
  ].join('\n');
  const scope = `${day}/${region}/s3/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n');
  const key = [day, region, 's3', 'aws4_request'].reduce(
    (secret: string | Buffer, part) => hmac(secret, part),
    `AWS4${secretAccessKey}`,
  );
  const signature = hmac(key, toSign).toString('hex');
  return {
    ...all,
    authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  };
}

/** A query as it is signed, and as it is to be sent: proxies and services read `+` in different ways. */
export function canonicalQuery(params: URLSearchParams): string {
  return [...params]
    .map(([name, value]) => [strict(name), strict(value)] as const)
    .sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x < y ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

function strict(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function hmac(key: string | Buffer, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest();
}
