/**
 * A disk of the bench's own, where the machine's is one on which nothing can be measured. An ext4 without a journal, as
 * some virtual machines have, gives no inode away again within a minute of its file's removal, and looks at each of them
 * whenever a file is made: after thousands of removals, which every bench makes, a new file costs up to 3 ms.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import type { Bench } from '../bench.ts';

const ext4Magic = 0xef53;
const size = '100G';

/**
 * Mounts a new ext4 with a journal over an empty folder, from a sparse file beside it, and has it taken away in the end.
 * Returns what the bench's report says of the disk. Elsewhere, and without the rights, the folder stays on its disk.
 */
export function ownDisk(folder: string, atEnd: Bench['atEnd']): string {
  if (statfsSync(folder).type !== ext4Magic || hasJournal() || process.getuid?.() !== 0)
    return 'its own disk';
  const file = `${folder}.ext4`;
  try {
    execFileSync('truncate', ['-s', size, file]);
    execFileSync('mkfs.ext4', ['-q', '-F', '-E', 'nodiscard', file]);
    execFileSync('mount', ['-o', 'loop', file, folder]);
  } catch {
    releaseDisk(folder);
    return 'an ext4 without a journal (files cost more there, and not always the same)';
  }
  atEnd(() => releaseDisk(folder));
  return 'an ext4 with a journal in a file (the machine’s has none)';
}

/** Takes a disk away that a bench has mounted, an earlier one that was killed too. */
export function releaseDisk(folder: string): void {
  const file = `${folder}.ext4`;
  if (!existsSync(file)) return;
  spawnSync('umount', ['-R', '-l', folder], { stdio: 'ignore' });
  rmSync(file);
}

/** Whether any ext4 of this machine has one: each has a thread, and a folder with what it does. */
function hasJournal(): boolean {
  try {
    return readdirSync('/proc/fs/jbd2').length > 0;
  } catch {
    return false;
  }
}
