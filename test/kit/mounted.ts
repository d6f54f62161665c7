/** Mounts what a store returns, as an executor would, for the time of one function. */
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mountOverlay } from '../../src/executor/overlay-mount.ts';
import type { Mount } from '../../src/fs/mount.ts';
import { MNT_DETACH, MS_REC, mount, umount } from '../../src/linux/libc.ts';
import { MS_BIND, MS_RDONLY, MS_REMOUNT } from './mount-flags.ts';

export async function withMounted<T>(
  mounts: readonly Mount[],
  body: (dir: string) => T | Promise<T>,
): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-mnt-'));
  let mounted = 0;
  try {
    for (const { type, source, options } of mounts) {
      const plain = options.filter((option) => !['ro', 'rw', 'rbind'].includes(option));
      const readOnly = options.includes('ro');
      // A deep stack is mounted as the executor does it.
      if (type === 'overlay' && plain.join(',').length > 4000) mountOverlay(dir, plain);
      else if (type === 'overlay') mount(source, dir, 'overlay', readOnly ? MS_RDONLY : 0, plain.join(','));
      else mount(source, dir, 'none', MS_BIND | MS_REC, '');
      mounted++;
      if (type === 'bind' && readOnly) mount('', dir, 'none', MS_REMOUNT | MS_BIND | MS_RDONLY, '');
    }
    return await body(dir);
  } finally {
    while (mounted-- > 0) umount(dir, MNT_DETACH);
    rmdirSync(dir);
  }
}
