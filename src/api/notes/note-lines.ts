/** Reads the lines of a note, whoever wrote the file. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { longestLine } from '../../records/index.ts';

/** How many bytes are read at once. */
const readAtOnce = 256 << 10;
const newline = 0x0a;

/** The file is no note: it is no ordinary file, or has a line that is too long. */
class NoNote extends Error {}

/**
 * The lines of a file, one after the other. Throws `NoNote` for anything but an ordinary file (a FIFO would never be read
 * to its end, and a link may lead to anything) and for a line of more bytes than notes have, and the system's errors.
 */
export async function* noteLines(path: string, longest = longestLine): AsyncGenerator<string, void> {
  const file = await openOrdinary(path);
  try {
    let begun: Buffer[] = [];
    let length = 0;
    for await (const chunk of chunksOf(file)) {
      for (let from = 0; from < chunk.length; ) {
        const end = chunk.indexOf(newline, from);
        const part = chunk.subarray(from, end < 0 ? undefined : end);
        length += part.length;
        if (length > longest) throw new NoNote(`a line of more than ${longest} bytes`);
        begun.push(part);
        if (end < 0) break;
        yield Buffer.concat(begun).toString('utf8');
        [begun, length] = [[], 0];
        from = end + 1;
      }
    }
    if (length > 0) yield Buffer.concat(begun).toString('utf8');
  } finally {
    await file.close();
  }
}

async function openOrdinary(path: string): Promise<FileHandle> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch((err: NodeJS.ErrnoException) => {
    // A link, a socket.
    throw err.code === 'ELOOP' || err.code === 'ENXIO' ? new NoNote('no ordinary file') : err;
  });
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new NoNote('no ordinary file');
}

async function* chunksOf(file: FileHandle): AsyncGenerator<Buffer, void> {
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(readAtOnce), 0, readAtOnce);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}
