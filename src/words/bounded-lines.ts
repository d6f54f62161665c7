/** The lines of bytes that strangers may have written. */

const newline = 0x0a;

/** A line is longer than its reader takes. */
class LineTooLong extends Error {}

/** Makes lines of bytes that come in pieces. */
export class BoundedLines {
  readonly #longest: number;
  /** A line that has not come as a whole. */
  #begun: Buffer[] = [];
  #length = 0;

  /** `longest`: the most bytes of a line. */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** The lines that are whole with this piece, without their ends. Throws `LineTooLong`. */
  *add(piece: Buffer): Generator<string, void> {
    for (let from = 0; from < piece.length; ) {
      const end = piece.indexOf(newline, from);
      const part = piece.subarray(from, end < 0 ? undefined : end);
      this.#length += part.length;
      if (this.#length > this.#longest) throw new LineTooLong(`a line of more than ${this.#longest} bytes`);
      this.#begun.push(part);
      if (end < 0) break;
      yield this.#take();
      from = end + 1;
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
 * The lines of a stream of bytes, one after the other, without their ends; the last need not have one. Throws
 * `LineTooLong` for a line of more than `longest` bytes, and the stream's errors.
 */
export async function* boundedLines(
  chunks: AsyncIterable<Buffer>,
  longest: number,
): AsyncGenerator<string, void> {
  const lines = new BoundedLines(longest);
  for await (const chunk of chunks) yield* lines.add(chunk);
  const rest = lines.rest();
  if (rest !== undefined) yield rest;
}
