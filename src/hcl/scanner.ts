import { hclError } from './error.ts';
import type { Place, SourceFile } from './types.ts';

/** A name, as `y`-flagged pattern. */
export const identifier = /[\p{ID_Start}_][\p{ID_Continue}-]*/uy;

/** A cursor in a file's text, which knows lines and columns. */
export class Scanner {
  readonly file: SourceFile;
  readonly text: string;
  at = 0;
  readonly #lines: number[] = [0];

  constructor(file: SourceFile) {
    this.file = file;
    this.text = file.text;
    for (let i = this.text.indexOf('\n'); i >= 0; i = this.text.indexOf('\n', i + 1)) this.#lines.push(i + 1);
  }

  get done(): boolean {
    return this.at >= this.text.length;
  }

  /** The character under the cursor; '' at the end. */
  get char(): string {
    return this.text[this.at] ?? '';
  }

  starts(word: string): boolean {
    return this.text.startsWith(word, this.at);
  }

  /** Goes past `word` if it is there. */
  take(word: string): boolean {
    if (!this.starts(word)) return false;
    this.at += word.length;
    return true;
  }

  /** Goes past what `pattern` (with the flag `y`) matches here, and returns it; undefined when it does not. */
  match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  /** Goes past spaces and comments, and past line ends if `lines` says so. */
  space(lines: boolean): void {
    for (;;) {
      this.match(lines ? /[ \t\r\n\ufeff]+/y : /(?:[ \t\ufeff]|\r(?!\n))+/y);
      if (this.starts('#') || this.starts('//')) this.match(/[^\n]*/y);
      else if (this.starts('/*')) {
        const end = this.text.indexOf('*/', this.at + 2);
        if (end < 0) throw this.error('Unterminated comment', 'The comment has no "*/" at its end.', this.at);
        this.at = end + 2;
      } else return;
    }
  }

  /** The place from `start` to `end` (default: the cursor), as offsets into the text. */
  place(start: number, end = this.at): Place {
    return { file: this.file, range: { start: this.#position(start), end: this.#position(end) } };
  }

  /** An error at `start`, or at the character under the cursor. */
  error(summary: string, detail: string, start = this.at, end = Math.max(start + 1, this.at)) {
    return hclError(this.place(start, Math.min(end, this.text.length)), summary, detail);
  }

  #position(offset: number): { line: number; character: number } {
    let low = 0;
    let high = this.#lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#lines[middle] as number) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, character: offset - (this.#lines[low] as number) };
  }
}
