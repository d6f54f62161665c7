import { fail } from '../errors/index.ts';

/** Throws `invalid` for text that is no key of an object. Buckets, unlike folders, may have keys with empty parts. */
export function checkKey(key: string, inFolder = false): void {
  const isFine =
    key !== '' &&
    Buffer.byteLength(key) <= 1000 &&
    !key.includes('\0') &&
    key.split('/').every((part) => part !== '.' && part !== '..' && (part !== '' || !inFolder));
  if (!isFine) throw fail('invalid', 'bucket', `${JSON.stringify(key)} is no key of an object`);
}

/** A key as the path of a URL, with all but unreserved characters escaped, as signatures want it. */
export function keyPath(key: string): string {
  return key
    .split('/')
    .map((part) =>
      encodeURIComponent(part).replace(
        /[!'()*]/g,
        (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`,
      ),
    )
    .join('/');
}
