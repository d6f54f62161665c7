/** The worker task `fs.digests`: the digests of all files of a tree, by their paths. */
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { canceled } from '../errors/index.ts';
import { closeFd } from '../linux/index.ts';
import type { Digest } from '../oci/index.ts';
import { type Abortable, stopper } from './make.ts';
import { openView } from './open.ts';
import { openEntry } from './real.ts';
import type { FsEntry, ViewSpec } from './view.ts';

interface FileDigest {
  /** The path without a slash in front. */
  path: string;
  digest: Digest;
}

const chunk = 1 << 20;

/** Hashes all regular files of a tree. Throws `canceled`. */
export function fileDigests({ spec }: { spec: ViewSpec }, ctx: Abortable): FileDigest[] {
  const view = openView(spec, undefined, stopper(ctx));
  const found: FileDigest[] = [];
  const buffer = Buffer.allocUnsafe(chunk);
  const pending = ['/'];
  for (let dir = pending.pop(); dir !== undefined; dir = pending.pop()) {
    const folders: string[] = [];
    for (const entry of view.readdir(dir)) {
      if (entry.type === 'dir') folders.push(entry.path);
      else if (entry.type === 'file') {
        found.push({ path: entry.path.slice(1), digest: digestIn(entry, buffer, ctx) });
      }
    }
    pending.push(...folders.reverse());
  }
  return found;
}

function digestIn(entry: FsEntry, buffer: Buffer, ctx: Abortable): Digest {
  const hash = createHash('sha256');
  const fd = openEntry(entry);
  try {
    for (;;) {
      if (ctx.aborted()) throw canceled();
      const n = readSync(fd, buffer, 0, buffer.length, null);
      if (n === 0) return `sha256:${hash.digest('hex')}`;
      hash.update(buffer.subarray(0, n));
    }
  } finally {
    closeFd(fd);
  }
}
