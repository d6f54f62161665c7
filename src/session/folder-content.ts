/** The blobs of an OCI layout in a folder on this host, as a client's store. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoCode, fail } from '../errors/index.ts';
import { streamOrdinary } from '../linux/index.ts';
import { hex } from '../oci/index.ts';
import type { ClientContent } from './types.ts';

/** The store of the blobs in `dir`. The folder is made when the first blob is written. */
export function folderContent(dir: string): ClientContent {
  const pathOf = (digest: Parameters<ClientContent['read']>[0]) => join(dir, 'blobs', 'sha256', hex(digest));
  return {
    async size(digest) {
      const found = await stat(pathOf(digest)).catch((err) => {
        if (errnoCode(err) === 'ENOENT') return undefined;
        throw err;
      });
      return found?.isFile() ? found.size : undefined;
    },
    async read(digest, { offset = 0, length, signal } = {}) {
      const path = pathOf(digest);
      const end = length === undefined ? undefined : offset + length;
      const { stream } = await streamOrdinary(path, { start: offset, end, signal }).catch((cause) => {
        if (errnoCode(cause) !== 'ENOENT') throw cause;
        throw fail('not-found', 'session', `there is no blob ${digest} in ${dir}`, { cause });
      });
      return stream;
    },
    async write({ digest, size }, bytes, { signal } = {}) {
      const path = pathOf(digest);
      if ((await this.size(digest)) === size) return;
      await mkdir(dirname(path), { recursive: true });
      const part = `${path}.${randomUUID()}.part`;
      try {
        const file = await open(part, 'wx');
        const hash = createHash('sha256');
        let written = 0;
        try {
          for await (const chunk of bytes) {
            signal?.throwIfAborted();
            hash.update(chunk);
            written += chunk.length;
            await file.writeFile(chunk);
          }
          await file.sync();
        } finally {
          await file.close();
        }
        const found = `sha256:${hash.digest('hex')}`;
        if (found !== digest || written !== size) {
          throw fail(
            'corrupt',
            'session',
            `a blob for ${dir} has the digest ${found} and ${written} bytes, not ${digest} and ${size}`,
          );
        }
        await rename(part, path);
      } catch (err) {
        await rm(part, { force: true });
        throw err;
      }
    },
  };
}
