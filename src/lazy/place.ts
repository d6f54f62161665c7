/** The names of a lazy layer's files on disk, and of what it is fetched from. Pure. */
import { createHash } from 'node:crypto';
import { inUserNamespace } from '../linux/index.ts';
import { parseReference } from '../oci/index.ts';
import type { LazyChunk } from './layer-table.ts';

/**
 * A lazy layer's folder has `fs`, with everything but the contents of files: these are holes of the right size. The
 * folder `lazy` beside it has the table of chunks and the contents that were fetched.
 */
export const lazyFolder = 'lazy';

/** The extended attribute of a file without content: its number in the layer's table, and a digest of its content. */
export function holeXattr(): string {
  return `${inUserNamespace() ? 'user' : 'trusted'}.drydock.hole`;
}

/**
 * The value of that attribute. A digest that the table of contents claims for a file of several chunks is not used: it is
 * never checked, while each chunk is.
 */
export function holeValue(file: number, chunks: readonly Pick<LazyChunk, 'size' | 'sha256'>[]): Buffer {
  const [first] = chunks;
  if (first !== undefined && chunks.length === 1)
    return Buffer.from(`${file} ${first.sha256.toString('hex')}`);
  const hash = createHash('sha256');
  for (const { size, sha256 } of chunks) hash.update(`${size} `).update(sha256);
  return Buffer.from(`${file} chunks:${hash.digest('hex')}`);
}

/** The repository of a reference (`localhost:5000/app`), for which credentials are lent. */
export function repositoryOf(source: string): string {
  const { domain, path } = parseReference(source);
  return `${domain}/${path}`;
}
