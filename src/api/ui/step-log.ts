/** The output of one step as lines. It holds the bytes as they came, and an index. */
import type { LogEvent } from '../../progress/index.ts';
import type { LogLine, LogLines, LogMatches } from './types.ts';

interface Piece {
  data: Buffer;
  stream: 1 | 2;
  at: number;
  /** How many ends of lines came before it. */
  ends: number;
  /** It ends the line before it, which the other stream has left open. */
  breaks: boolean;
}

const newline = 10;
/** The longest line that is shown, in bytes; the rest of it is in the download. */
const maxLine = 16 << 10;
/** The most bytes of text that one answer has. */
const maxAnswer = 1 << 20;
/** The most lines that a search finds. */
const maxMatches = 10_000;

/** The lines of a step. The pieces of both its streams stand in the order in which they came; no line is of both. */
export class StepLog {
  readonly #pieces: Piece[] = [];
  #ends = 0;
  #open = false;
  bytes = 0;

  add({ data, stream, timestamp }: Pick<LogEvent, 'data' | 'stream' | 'timestamp'>): void {
    if (data.length === 0) return;
    const breaks = this.#open && this.#pieces.at(-1)?.stream !== stream;
    if (breaks) this.#ends++;
    this.#pieces.push({ data, stream, at: timestamp, ends: this.#ends, breaks });
    for (let at = data.indexOf(newline); at >= 0; at = data.indexOf(newline, at + 1)) this.#ends++;
    this.#open = data[data.length - 1] !== newline;
    this.bytes += data.length;
  }

  /** How many lines there are; the last one may still grow. */
  get total(): number {
    return this.#ends + (this.#open ? 1 : 0);
  }

  /** Lines from a number (from 0) on; fewer than `count` when they are long. */
  lines(from: number, count: number): LogLines {
    const lines: LogLine[] = [];
    let size = 0;
    for (const { data, stream, at } of this.#from(from)) {
      if (lines.length >= count || size > maxAnswer) break;
      const cut = data.length > maxLine;
      const text = (cut ? data.subarray(0, maxLine) : data).toString('utf8');
      size += text.length + 40;
      lines.push({ text: cut ? `${text}… [${data.length - maxLine} more bytes]` : text, stream, at });
    }
    return { total: this.total, from, lines };
  }

  /** The lines that have a text in them, whatever the case of ASCII letters. The work is for `inTurns`. */
  *search(text: string, from = 0): Generator<void, LogMatches> {
    const wanted = text.toLowerCase();
    const found: number[] = [];
    let number = from;
    for (const { data } of this.#from(from)) {
      if (number % 64 === 0) yield;
      if (data.toString('utf8').toLowerCase().includes(wanted)) {
        if (found.length === maxMatches) return { lines: found, more: true };
        found.push(number);
      }
      number++;
    }
    return { lines: found, more: false };
  }

  /** All bytes. */
  *whole(): Generator<Buffer> {
    for (const { data } of this.#pieces) yield data;
  }

  *#from(first: number): Generator<{ data: Buffer; stream: 1 | 2; at: number }> {
    if (first >= this.total) return;
    let place = this.#pieceOf(first);
    let piece = this.#pieces[place];
    if (piece === undefined) return;
    let at = 0;
    for (let skip = first - piece.ends; skip > 0; skip--) at = piece.data.indexOf(newline, at) + 1;
    let parts: Buffer[] = [];
    let begun = piece;
    for (;;) {
      const end = piece.data.indexOf(newline, at);
      if (at < piece.data.length) {
        if (parts.length === 0) begun = piece;
        parts.push(piece.data.subarray(at, end < 0 ? undefined : end));
      }
      if (end >= 0) {
        const data = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
        yield { data, stream: begun.stream, at: begun.at };
        parts = [];
        at = end + 1;
        if (at < piece.data.length) continue;
      }
      piece = this.#pieces[++place];
      at = 0;
      if (piece !== undefined && !piece.breaks) continue;
      if (parts.length > 0) yield { data: Buffer.concat(parts), stream: begun.stream, at: begun.at };
      if (piece === undefined) return;
      parts = [];
    }
  }

  /** The place of the piece in which a line begins. */
  #pieceOf(line: number): number {
    let [low, high] = [0, this.#pieces.length - 1];
    // The last piece before which fewer ends came than lines are wanted, or which begins the line by breaking another;
    // or the first one of the log.
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      const { ends = 0, breaks = false } = this.#pieces[middle] ?? {};
      if (ends < line || (ends === line && breaks)) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
