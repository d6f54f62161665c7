import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { canceled } from '../../errors/index.ts';
import type { Digest } from '../../oci/index.ts';
import type { TaskContext } from '../../workers/index.ts';

/** The sha256 digest and size of a file's bytes, which are read in pieces. Runs on a worker thread. */
export function hashFile(args: { path: string }, ctx?: TaskContext): { digest: Digest; size: number } {
  const fd = openSync(args.path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(1 << 20);
    let size = 0;
    for (;;) {
      if (ctx?.aborted()) throw canceled();
      const n = readSync(fd, buffer, 0, buffer.length, null);
      if (n === 0) break;
      hash.update(buffer.subarray(0, n));
      size += n;
    }
    return { digest: `sha256:${hash.digest('hex')}`, size };
  } finally {
    closeSync(fd);
  }
}
