/** Streams of blobs that hold nothing before they are read. */
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';

/**
 * A stream of bytes that come from an iterable, which is made when the first of them is asked for. A stream that is
 * thrown away before holds no file: a save, a push or an export may end between getting a blob's stream and reading it,
 * and Node ends the process when it finds a forgotten file handle.
 */
export function whenAsked(bytes: () => AsyncIterable<Uint8Array>): Readable {
  return Readable.from(later(bytes), { objectMode: false, highWaterMark: chunkBytes });
}

/**
 * `length` bytes of a file from `offset` on. Throws what reading it does, as `failed` has it. Of the stream of a path
 * (and not of a file handle) at worst a descriptor is lost.
 */
export async function* fileBytes(
  path: string,
  offset: number,
  length: number,
  failed: (err: unknown) => unknown = (err) => err,
): AsyncGenerator<Buffer> {
  const file = createReadStream(path, { start: offset, end: offset + length - 1, highWaterMark: chunkBytes });
  try {
    yield* file;
  } catch (err) {
    throw failed(err);
  } finally {
    file.destroy();
  }
}

const chunkBytes = 256 << 10;

async function* later(bytes: () => AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* bytes();
}
