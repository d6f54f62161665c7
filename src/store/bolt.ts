/** Tells the databases of other programs apart from ours. */
import { closeSync, openSync } from 'node:fs';
import { readAll } from '../linux/index.ts';

/** Where the number is that the first page of a bbolt file has after its 16 bytes of head, and the number itself. */
const magicAt = 16;
const magic = 0xed0cdaed;

/** Whether a file is a bbolt database, as BuildKit's buildkitd and containerd have them. False for a file that is not there. */
export function isBoltDatabase(file: string): boolean {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch {
    return false;
  }
  try {
    const head = Buffer.alloc(magicAt + 4);
    return readAll(fd, head, 0) === head.length && head.readUInt32LE(magicAt) === magic;
  } catch {
    return false;
  } finally {
    closeSync(fd);
  }
}
