/** Reads the lines of a note, whoever wrote the file. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { longestLine } from '../../records/index.ts';
import { BoundedLines, boundedLines } from '../../words/index.ts';

/** How many bytes are read at once. */
const readAtOnce = 256 << 10;

/** The file is no note, as it is no ordinary file. */
class NoNote extends Error {}

/** The lines of a note, which may still be written. */
export class NoteLines {
  readonly #file: FileHandle;
  readonly #lines = new BoundedLines(longestLine);

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** The whole lines that have come by now. Throws for a line of more bytes than notes have. */
  async *come(): AsyncGenerator<string, void> {
    for await (const chunk of chunksOf(this.#file)) yield* this.#lines.add(chunk);
  }
}

/**
 * The lines of a file, one after the other. Throws for a line of more than `longest` bytes, `NoNote` for what `openNote`
 * refuses, and the system's errors.
 */
export async function* noteLines(path: string, longest = longestLine): AsyncGenerator<string, void> {
  const file = await openNote(path);
  try {
    yield* boundedLines(chunksOf(file), longest);
  } finally {
    await file.close();
  }
}

/**
 * Opens a note. Throws `NoNote` for anything but an ordinary file: a FIFO would never be read to its end, and a link may
 * lead to anything.
 */
export async function openNote(path: string): Promise<FileHandle> {
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
