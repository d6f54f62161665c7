/**
 * The signature of a storage account's key.
 * https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
 */
import { createHmac } from 'node:crypto';

interface Unsigned {
  method: string;
  url: URL;
  headers: Readonly<Record<string, string>>;
}

const signedHeaders = [
  ...['content-encoding', 'content-language', 'content-length', 'content-md5', 'content-type', 'date'],
  ...['if-modified-since', 'if-match', 'if-none-match', 'if-unmodified-since', 'range'],
];

/** The Authorization header of a request that has its `x-ms-date` already. `key`: in base64. Pure. */
export function sharedKey({ method, url, headers }: Unsigned, account: string, key: string): string {
  const lower = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  const plain = signedHeaders.map((name) => {
    const value = lower.get(name) ?? '';
    return name === 'content-length' && value === '0' ? '' : value;
  });
  const own = [...lower]
    .filter(([name]) => name.startsWith('x-ms-'))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}:${value.trim()}`);
  const query = [...new Set([...url.searchParams.keys()])]
    .map((name) => [name.toLowerCase(), url.searchParams.getAll(name).sort().join()] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}:${value}`);
  const resource = `/${account}${url.pathname}`;
  const text = [method, ...plain, ...own, resource, ...query].join('\n');
  const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64');
  return `SharedKey ${account}:${signature}`;
}
