/** Reads small files and folders of a view, as a frontend does; symlinks are followed inside the view. */
import { readSync } from 'node:fs';
import { fail } from '../errors/index.ts';
import { closeFd } from '../linux/index.ts';
import { openEntry } from './real.ts';
import { resolvePath } from './resolve.ts';
import type { FsEntry, FsView } from './view.ts';

/** The entry that a path leads to, with all symlinks followed; undefined when there is none. */
export function statFollow(view: FsView, path: string): FsEntry | undefined {
  return view.lstat(resolvePath(view, path, { followLast: true }));
}

/**
 * The bytes of a small file, with links followed; undefined when there is none. Throws `invalid` for anything but a
 * regular file, and for more than `maxBytes` (default 16 MiB).
 */
export function readFileIn(view: FsView, path: string, maxBytes = 16 << 20): Buffer | undefined {
  const entry = statFollow(view, path);
  if (entry === undefined) return undefined;
  if (entry.type !== 'file') {
    throw fail(
      'invalid',
      'file',
      `${path}: is a ${entry.type === 'dir' ? 'folder' : entry.type}, not a file`,
    );
  }
  return readEntry(entry, path, maxBytes);
}

function readEntry(entry: FsEntry, path: string, maxBytes: number): Buffer {
  const tooLarge = () => fail('invalid', 'file', `${path}: larger than ${maxBytes} bytes`);
  if (entry.size > maxBytes) throw tooLarge();
  const fd = openEntry(entry);
  try {
    // Reading one byte more shows whether the file grew meanwhile.
    let buffer = Buffer.allocUnsafe(entry.size + 1);
    let length = 0;
    for (;;) {
      const n = readSync(fd, buffer, length, buffer.length - length, length);
      if (n === 0) return buffer.subarray(0, length);
      length += n;
      if (length > maxBytes) throw tooLarge();
      if (length === buffer.length)
        buffer = Buffer.concat([buffer, Buffer.allocUnsafe(buffer.length + 4096)]);
    }
  } finally {
    closeFd(fd);
  }
}
