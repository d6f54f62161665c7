/** The names of a lazy layer's files on disk, and of what it is fetched from. Pure. */
import { inUserNamespace } from '../linux/index.ts';
import { parseReference } from '../oci/index.ts';

/**
 * A lazy layer's folder has `fs`, with everything but the contents of files: these are holes of the right size. The
 * folder `lazy` beside it has the table of chunks and the contents that were fetched.
 */
export const lazyFolder = 'lazy';

/** The extended attribute of a file without content: its number in the layer's table. */
export function holeXattr(): string {
  return `${inUserNamespace() ? 'user' : 'trusted'}.drydock.hole`;
}

/** The repository of a reference (`localhost:5000/app`), for which credentials are lent. */
export function repositoryOf(source: string): string {
  const { domain, path } = parseReference(source);
  return `${domain}/${path}`;
}
