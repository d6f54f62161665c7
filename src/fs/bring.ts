/** Files of lazy layers, which must not be read on the main thread before their contents are here. */
import { readSync } from 'node:fs';
import { canceled } from '../errors/index.ts';
import { closeFd } from '../linux/index.ts';
import { runTask, type TaskContext } from '../workers/index.ts';
import { mayWait } from './lazy-folder.ts';
import { statFollow } from './read.ts';
import { openEntry } from './real.ts';
import type { FsEntry, FsView } from './view.ts';

/**
 * Has the contents of these files come, as far as they are in lazy layers, also those of a remote snapshotter: reading them waits for nobody afterwards.
 * Symlinks are followed; what is missing or no file is left out. Throws EIO when a content cannot be fetched.
 *
 *     await bringFiles(view, ['/etc/passwd'], { signal });
 */
export async function bringFiles(
  view: FsView,
  paths: readonly string[],
  options: { signal?: AbortSignal; most?: number } = {},
): Promise<void> {
  const entries = paths.flatMap((path) => {
    const entry = fileAt(view, path);
    return entry !== undefined && mayWait(entry.hostPath) ? [entry] : [];
  });
  if (entries.length === 0) return;
  const { signal, most } = options;
  await runTask('fs.bring', { entries, most }, { signal });
}

function fileAt(view: FsView, path: string): FsEntry | undefined {
  try {
    const entry = statFollow(view, path);
    return entry?.type === 'file' ? entry : undefined;
  } catch {
    return undefined; // a path that leads nowhere
  }
}

/** The worker task `fs.bring`: reads the files, each up to `most` bytes, and drops the bytes. */
export function bring(
  { entries, most = Number.POSITIVE_INFINITY }: { entries: readonly FsEntry[]; most?: number },
  ctx: TaskContext,
): void {
  const buffer = Buffer.allocUnsafe(1 << 20);
  for (const entry of entries) {
    const fd = openEntry(entry);
    try {
      for (let at = 0, n = 1; n > 0 && at < most; at += n) {
        if (ctx.aborted()) throw canceled();
        n = readSync(fd, buffer, 0, Math.min(buffer.length, most - at), at);
      }
    } finally {
      closeFd(fd);
    }
  }
}
