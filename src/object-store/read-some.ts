import type { Readable } from 'node:stream';

/** Reads a whole small body. Rejects with a RangeError when it is longer than `max` bytes. */
export async function readSome(stream: Readable, max: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of stream as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > max) {
      stream.destroy();
      throw new RangeError(`the answer is longer than ${max} bytes`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}
