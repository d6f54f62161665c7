/** Reads the lines of a note, whoever wrote the file. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { longestLine } from '../../records/index.ts';

/** How many bytes are read at once. */
const readAtOnce = 256 << 10;
const newline = 0x0a;

/** The file is no note: it is no ordinary file, or has a line that is too long. */
class NoNote extends Error {}

/** The lines of a note, which may still be written. */
export class NoteLines {
  readonly #file: FileHandle;
  readonly #longest: number;
  /** A line that has not come as a whole. */
  #begun: Buffer[] = [];
  #length = 0;

  constructor(file: FileHandle, longest = longestLine) {
    this.#file = file;
    this.#longest = longest;
  }

  /** The whole lines that have come by now. Throws `NoNote` for a line of more bytes than notes have. */
  async *come(): AsyncGenerator<string, void> {
    for await (const chunk of chunksOf(this.#file)) {
      for (let from = 0; from < chunk.length; ) {
        const end = chunk.indexOf(newline, from);
        const part = chunk.subarray(from, end < 0 ? undefined : end);
        this.#length += part.length;
        if (this.#length > this.#longest) throw new NoNote(`a line of more than ${this.#longest} bytes`);
        this.#begun.push(part);
        if (end < 0) break;
        yield this.#take();
        from = end + 1;
      }
    }
  }

  /** A last line without an end; undefined when there is none. */
  rest(): string | undefined {
    return this.#length > 0 ? this.#take() : undefined;
  }

  #take(): string {
    const text = Buffer.concat(this.#begun).toString('utf8');
    [this.#begun, this.#length] = [[], 0];
    return text;
  }
}

/**
 * The lines of a file, one after the other. Throws `NoNote` for what `openNote` and `NoteLines` refuse, and the system's
 * errors.
 */
export async function* noteLines(path: string, longest = longestLine): AsyncGenerator<string, void> {
  const file = await openNote(path);
  try {
    const lines = new NoteLines(file, longest);
    yield* lines.come();
    const rest = lines.rest();
    if (rest !== undefined) yield rest;
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
