/** A disk of a test's own, as small as it wants it, mounted on a folder: real ext4, which can be full or read-only. */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SmallDisk {
  /** Where it is mounted. */
  readonly dir: string;
  /** Bytes left. */
  free(): number;
  /** Fills it to the last byte. */
  fill(): void;
  /** Takes away what `fill` put there. */
  empty(): void;
  remount(how: 'ro' | 'rw'): void;
  /** Unmounts and removes it. */
  remove(): void;
}

/** Mounts a new one on `dir`. */
export function mountDisk(dir: string, megabytes: number): SmallDisk {
  const home = mkdtempSync(join(tmpdir(), 'drydock-disk-'));
  const image = join(home, 'image');
  writeFileSync(image, '');
  truncateSync(image, megabytes << 20);
  execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', image]);
  mkdirSync(dir, { recursive: true });
  execFileSync('mount', ['-o', 'loop', image, dir]);
  const filler = join(dir, 'filler');
  return {
    dir,
    free() {
      const { bavail, bsize } = statfsSync(dir);
      return bavail * bsize;
    },
    fill() {
      const fd = openSync(filler, 'a');
      try {
        for (let size = 1 << 20; size >= 1; ) {
          try {
            writeSync(fd, Buffer.alloc(size));
          } catch {
            size >>= 1;
          }
        }
      } finally {
        closeSync(fd);
      }
    },
    empty: () => rmSync(filler, { force: true }),
    remount: (how) => execFileSync('mount', ['-o', `remount,${how}`, dir]),
    remove() {
      execFileSync('umount', ['-l', dir]);
      rmSync(home, { recursive: true, force: true });
    },
  };
}
