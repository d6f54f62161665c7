import { readSync } from 'node:fs';

/** Fills `out` from a place of a file. Returns how many bytes there were: fewer at the file's end. */
export function readAll(fd: number, out: Uint8Array, offset: number): number {
  let done = 0;
  while (done < out.length) {
    const n = readSync(fd, out, done, out.length - done, offset + done);
    if (n === 0) break;
    done += n;
  }
  return done;
}
