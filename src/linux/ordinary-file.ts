/**
 * Files whose names others may have given to something else. A FIFO would hold one of Node's few threads until somebody
 * writes to it, and a device has no end: these are EINVAL here. Links are followed.
 */
import { close, constants, createReadStream, fstatSync, open, type Stats } from 'node:fs';
import { open as openHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';

const opened = promisify(open);
const flags = constants.O_RDONLY | constants.O_NONBLOCK;

/** What is read of a file: bytes from `start` to before `end`; default all. */
interface StreamOptions {
  start?: number;
  end?: number;
  signal?: AbortSignal;
}

/** Reads a whole file. Throws the system's errors, and EFBIG for one of more than `most` bytes. */
export async function readOrdinary(path: string, most: number): Promise<Buffer> {
  const file = await openHandle(path, flags);
  try {
    const stat = await file.stat();
    check(stat, path);
    if (stat.size > most) throw failure('EFBIG', `more than ${most} bytes`, path);
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/** Opens a file and reads it as a stream. Throws the system's errors. */
export async function streamOrdinary(
  path: string,
  { start = 0, end, signal }: StreamOptions = {},
): Promise<{ stream: Readable; size: number; mtimeMs: number }> {
  // A handle would end the process if its stream were dropped unread.
  const fd = await opened(path, flags);
  let stat: Stats;
  try {
    stat = fstatSync(fd);
    check(stat, path);
  } catch (err) {
    close(fd);
    throw err;
  }
  const { size, mtimeMs } = stat;
  const last = Math.min(end ?? size, size);
  if (last > start) {
    const stream = createReadStream(path, { fd, start, end: last - 1, highWaterMark: 512 << 10, signal });
    return { stream, size, mtimeMs };
  }
  close(fd);
  return { stream: Readable.from([], { objectMode: false }), size, mtimeMs };
}

function check(stat: Stats, path: string): void {
  if (stat.isDirectory()) throw failure('EISDIR', 'a folder', path);
  if (!stat.isFile()) throw failure('EINVAL', 'no ordinary file', path);
}

function failure(code: string, why: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${why}, open '${path}'`), { code, syscall: 'open', path });
}
