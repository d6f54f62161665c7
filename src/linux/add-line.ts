/** Files of lines that are the user's alone, and of which the oldest lines are not needed for ever. */
import { closeSync, fstatSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { writeAll } from './write-all.ts';

/**
 * Adds a line to a file, which it makes when there is none. Above `most` bytes the older half of the lines goes. Throws
 * the system's errors.
 */
export function addLine(file: string, line: string, most: number): void {
  const fd = openSync(file, 'a', 0o600);
  let size: number;
  try {
    writeAll(fd, Buffer.from(`${line}\n`));
    ({ size } = fstatSync(fd));
  } finally {
    closeSync(fd);
  }
  if (size <= most) return;
  const lines = readFileSync(file, 'utf8').split('\n');
  const part = `${file}.${process.pid}.part`;
  writeFileSync(part, lines.slice(lines.length >> 1).join('\n'), { mode: 0o600 });
  renameSync(part, file);
}
