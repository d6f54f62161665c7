import { writeSync } from 'node:fs';

/** Writes all bytes at a place of a file, by default behind those that were written before. */
export function writeAll(fd: number, bytes: Uint8Array, offset?: number): void {
  let done = 0;
  while (done < bytes.length) {
    const at = offset === undefined ? null : offset + done;
    done += writeSync(fd, bytes, done, bytes.length - done, at);
  }
}
