/** Streams of blobs that hold no file before they are read. */
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { notePassed } from '../../workers/index.ts';

/**
 * Makes a stream of bytes from an iterable that is created when the first byte is asked for. A stream that is dropped
 * before then holds no file: a save, a push or an export may end between opening a blob's stream and reading it, and
 * Node ends the process when it finds a forgotten file handle.
 */
export function whenAsked(bytes: () => AsyncIterable<Uint8Array>): Readable {
  return Readable.from(later(bytes), { objectMode: false, highWaterMark: chunkBytes });
}

/**
 * Yields `length` bytes of a file from `offset` on. Read errors are thrown as `failed` translates them. The file is
 * opened by path, not as a file handle: a dropped stream loses a descriptor at worst.
 *
 *     fileBytes(path, 512, 1024, (err) => damaged(digest, err)) // bytes 512 to 1535
 */
export async function* fileBytes(
  path: string,
  offset: number,
  length: number,
  failed: (err: unknown) => unknown = (err) => err,
): AsyncGenerator<Buffer> {
  const file = createReadStream(path, { start: offset, end: offset + length - 1, highWaterMark: chunkBytes });
  try {
    for await (const chunk of file as AsyncIterable<Buffer>) {
      notePassed(chunk.length);
      yield chunk;
    }
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
