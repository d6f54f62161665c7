/** Reads files of a view in pieces: line by line, or bytes at an offset. */
import { readSync } from 'node:fs';
import { fail } from '../errors/index.ts';
import { openEntry } from '../fs/index.ts';
import { closeFd } from '../linux/index.ts';
import type { Found } from './types.ts';

const chunk = 64 << 10;
/** The longest line in bytes; what is longer is no line of a package database. */
const maxLine = 4 << 20;

/** Yields the lines of a text file without their ends. Throws `exhausted` for a line of more than 4 MiB. */
export function* linesOf({ entry, spend }: Pick<Found, 'entry' | 'spend'>): Generator<string, void> {
  const fd = openEntry(entry);
  try {
    const buffer = Buffer.allocUnsafe(chunk);
    let rest = Buffer.alloc(0);
    for (;;) {
      const n = readSync(fd, buffer, 0, chunk, null);
      if (n === 0) break;
      spend(n);
      const whole = rest.length === 0 ? buffer.subarray(0, n) : Buffer.concat([rest, buffer.subarray(0, n)]);
      const end = whole.lastIndexOf(10);
      if (end >= 0) yield* whole.toString('utf8', 0, end).split('\n').map(trimEnd);
      rest = Buffer.from(whole.subarray(end + 1));
      if (rest.length > maxLine) throw fail('exhausted', 'file', `a line is longer than ${maxLine} bytes`);
    }
    if (rest.length > 0) yield trimEnd(rest.toString('utf8'));
  } finally {
    closeFd(fd);
  }
}

function trimEnd(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}

/** A file that is read at any place. */
export interface OpenFile {
  readonly size: number;
  /** Reads `length` bytes at an offset. Throws `invalid` when the file ends before, `exhausted` above 64 MiB. */
  at(offset: number, length: number): Buffer;
}

/** The most bytes that are read at once. */
const maxPart = 64 << 20;

/** Opens a file for the time of a call. */
export function* withFile<T>(
  { entry, spend }: Pick<Found, 'entry' | 'spend'>,
  read: (file: OpenFile) => Iterable<T>,
): Generator<T, void> {
  const fd = openEntry(entry);
  try {
    yield* read({
      size: entry.size,
      at(offset, length) {
        if (length < 0 || offset < 0 || offset + length > entry.size) {
          throw fail('invalid', 'file', 'it ends too early');
        }
        if (length > maxPart) throw fail('exhausted', 'file', `a part has more than ${maxPart} bytes`);
        spend(length + 64);
        const bytes = Buffer.allocUnsafe(length);
        for (let n = 0; n < length; ) {
          const got = readSync(fd, bytes, n, length - n, offset + n);
          if (got === 0) throw fail('invalid', 'file', 'it ends too early');
          n += got;
        }
        return bytes;
      },
    });
  } finally {
    closeFd(fd);
  }
}
