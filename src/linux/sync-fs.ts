/** Writes a filesystem to its disk. */
import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';
import { fault } from './call.ts';

const syncfs = koffi.load('libc.so.6').func('int syncfs(int fd)');

/**
 * Writes everything of a folder's filesystem to its disk (syncfs(2)), beside the main thread. Rejects with a Node-style
 * error, EIO among them when something could not be written.
 */
export async function syncFilesystem(dir: string): Promise<void> {
  const fd = openSync(dir, 'r');
  try {
    await new Promise<void>((resolve, reject) => {
      syncfs.async(fd, (err: Error | null, result: number) => {
        if (err !== null) reject(err);
        else if (result === 0) resolve();
        else reject(fault('syncfs', dir));
      });
    });
  } finally {
    closeSync(fd);
  }
}
