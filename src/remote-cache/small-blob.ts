import { fail } from '../errors/index.ts';
import { type Digest, digestOf } from '../oci/index.ts';
import type { ClientContent } from '../session/index.ts';
import { maxCacheConfig } from './format/config.ts';

/** A document in a client's folder, with its digest checked. Throws `not-found`, `exhausted`, `corrupt`. */
export async function smallBlob(
  content: Pick<ClientContent, 'size' | 'read'>,
  digest: Digest,
  folder: string,
): Promise<Buffer> {
  if ((await content.size(digest)) === undefined) {
    throw fail('not-found', 'session', `there is no blob ${digest} in ${folder}`);
  }
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of await content.read(digest)) {
    size += (chunk as Buffer).length;
    // The client's word on the size is not enough.
    if (size > maxCacheConfig) {
      throw fail(
        'exhausted',
        'session',
        `the blob ${digest} in ${folder} has more than ${maxCacheConfig} bytes`,
      );
    }
    parts.push(chunk as Buffer);
  }
  const bytes = Buffer.concat(parts);
  if (digestOf(bytes) === digest) return bytes;
  throw fail('corrupt', 'session', `the blob ${digest} in ${folder} has the digest ${digestOf(bytes)}`);
}
