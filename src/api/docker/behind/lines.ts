/** The lines of bytes that strangers may have written. */

const newline = 0x0a;

/** A line is longer than its reader takes. */
class LineTooLong extends Error {}

/**
 * The lines of a stream of bytes, one after the other, without their ends; the last need not have one. Throws
 * `LineTooLong` for a line of more than `longest` bytes, and the stream's errors.
 */
export async function* boundedLines(
  chunks: AsyncIterable<Buffer>,
  longest: number,
): AsyncGenerator<string, void> {
  let begun: Buffer[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    for (let from = 0; from < chunk.length; ) {
      const end = chunk.indexOf(newline, from);
      const part = chunk.subarray(from, end < 0 ? undefined : end);
      length += part.length;
      if (length > longest) throw new LineTooLong(`a line of more than ${longest} bytes`);
      begun.push(part);
      if (end < 0) break;
      yield Buffer.concat(begun).toString('utf8');
      [begun, length] = [[], 0];
      from = end + 1;
    }
  }
  if (length > 0) yield Buffer.concat(begun).toString('utf8');
}
