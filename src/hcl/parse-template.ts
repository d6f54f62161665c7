/** Reads templates: quoted texts and heredocs, with `${…}` and `%{…}` in them. */
import type { Scanner } from './scanner.ts';
import type { Expression, TemplatePart } from './types.ts';

/** `k, v in collection`. */
export interface ForHead {
  key?: string;
  value: string;
  collection: Expression;
}

/** Readers of what stands inside of `${…}` and `%{…}`. */
interface Inner {
  expression(scanner: Scanner, lines: boolean): Expression;
  forHead(scanner: Scanner): ForHead;
}

/** A template's pieces before its directives are matched; texts know whether they are written as they are. */
type Piece =
  | { kind: 'text'; text: string }
  | { kind: 'value'; expression: Expression; start: number }
  | { kind: 'if'; condition: Expression; start: number }
  | { kind: 'for'; head: ForHead; start: number }
  | { kind: 'else' | 'endif' | 'endfor'; start: number };

const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\' };

/** Reads `"…"`. Throws `invalid`. */
export function parseQuoted(scanner: Scanner, inner: Inner): Expression {
  const start = scanner.at++;
  const pieces = new Pieces();
  for (;;) {
    const text = scanner.match(/[^"\\\n$%]+/y);
    if (text !== undefined) pieces.text(text);
    else if (scanner.take('"')) return template(scanner, pieces, start);
    else if (scanner.done || scanner.char === '\n') {
      throw scanner.error(
        'Unterminated string',
        'A quoted string ends in the line in which it begins.',
        start,
      );
    } else if (scanner.char === '\\') pieces.text(escaped(scanner));
    else sequence(scanner, pieces, inner);
  }
}

/** Reads all of the text as a template. */
export function parseTemplate(scanner: Scanner, inner: Inner): Expression {
  const pieces = new Pieces();
  while (!scanner.done) readLine(scanner, pieces, inner);
  return template(scanner, pieces, 0);
}

/** Reads `<<WORD` or `<<-WORD` to the line that is WORD. Throws `invalid`. */
export function parseHeredoc(scanner: Scanner, inner: Inner): Expression {
  const start = scanner.at;
  const head = scanner.match(/<<-?[\p{ID_Start}_][\p{ID_Continue}-]*\r?\n/uy);
  if (head === undefined)
    throw scanner.error(
      'Invalid expression',
      'A heredoc begins with << and a word at the end of a line.',
      start,
    );
  const flush = head.startsWith('<<-');
  const word = head.slice(flush ? 3 : 2).trim();
  const pieces = new Pieces();
  for (;;) {
    if (scanner.done)
      throw scanner.error(
        'Unterminated template string',
        `No line is the word ${word} that ends the heredoc.`,
        start,
      );
    const from = scanner.at;
    const line = scanner.match(/[ \t]*[^\s]+[ \t]*(?=\r?\n|$)/y);
    if (line?.trim() === word) break;
    scanner.at = from;
    readLine(scanner, pieces, inner);
  }
  if (flush) pieces.flush();
  return template(scanner, pieces, start);
}

function readLine(scanner: Scanner, pieces: Pieces, inner: Inner): void {
  for (;;) {
    const text = scanner.match(/[^$%\n]+/y);
    if (text !== undefined) pieces.text(text);
    else if (scanner.take('\n')) {
      pieces.newline();
      return;
    } else if (scanner.done) return;
    else sequence(scanner, pieces, inner);
  }
}

function escaped(scanner: Scanner): string {
  const start = scanner.at++;
  const char = scanner.char;
  const digits = scanner.match(/u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}/y);
  if (digits !== undefined) {
    const code = Number.parseInt(digits.slice(1), 16);
    if (code <= 0x10ffff) return String.fromCodePoint(code);
  } else {
    scanner.at++;
    const text = escapes[char];
    if (text !== undefined) return text;
  }
  throw scanner.error(
    'Invalid escape sequence',
    `The symbol ${JSON.stringify(char)} is not a valid escape sequence selector.`,
    start,
  );
}

/** Reads what begins with `$` or `%`. */
function sequence(scanner: Scanner, pieces: Pieces, inner: Inner): void {
  const start = scanner.at;
  const sign = scanner.char;
  if (scanner.starts(`${sign}${sign}{`)) {
    scanner.at += 3;
    pieces.text(`${sign}{`);
    return;
  }
  if (!scanner.starts(`${sign}{`)) {
    scanner.at++;
    pieces.text(sign);
    return;
  }
  scanner.at += 2;
  if (scanner.take('~')) pieces.trimEnd();
  if (sign === '$') pieces.add({ kind: 'value', expression: inner.expression(scanner, true), start });
  else pieces.add(directive(scanner, start, inner));
  scanner.space(true);
  if (scanner.take('~')) pieces.trimNext = true;
  if (!scanner.take('}')) {
    throw scanner.error(
      'Extra characters after interpolation expression',
      'Expected a closing brace to end the interpolation expression.',
    );
  }
}

function directive(scanner: Scanner, start: number, inner: Inner): Piece {
  scanner.space(true);
  const word = scanner.match(/[a-z]+/y);
  if (word === 'if') return { kind: 'if', condition: inner.expression(scanner, true), start };
  if (word === 'for') return { kind: 'for', head: inner.forHead(scanner), start };
  if (word === 'else' || word === 'endif' || word === 'endfor') return { kind: word, start };
  throw scanner.error(
    'Invalid template directive',
    `${JSON.stringify(word ?? '')} is not a valid template control keyword.`,
    start,
  );
}

/**
 * The pieces of one template as they are read. As in HCL, a text ends with its line: a `~` takes spaces away from one
 * text, and does not reach into the next line.
 */
class Pieces {
  readonly list: Piece[] = [];
  /** Whether the text that comes next loses the space at its beginning. */
  trimNext = false;
  /** The text that what comes next belongs to. */
  #open: Extract<Piece, { kind: 'text' }> | undefined;

  text(text: string): void {
    const kept = this.trimNext ? text.trimStart() : text;
    if (kept !== '') this.trimNext = false;
    if (this.#open === undefined) {
      this.#open = { kind: 'text', text: kept };
      this.list.push(this.#open);
    } else this.#open.text += kept;
  }

  /** Adds the end of a line. */
  newline(): void {
    this.text('\n');
    this.#end();
  }

  add(piece: Piece): void {
    this.#end();
    this.list.push(piece);
  }

  #end(): void {
    this.#open = undefined;
    this.trimNext = false;
  }

  trimEnd(): void {
    const last = this.list.at(-1);
    if (last?.kind === 'text') last.text = last.text.trimEnd();
  }

  /** Takes the indentation away that all lines have, of those texts that begin a line. Blank lines do not count. */
  flush(): void {
    let common = Number.POSITIVE_INFINITY;
    const begin: Extract<Piece, { kind: 'text' }>[] = [];
    let isStart = true;
    for (const piece of this.list) {
      const text = piece.kind === 'text' ? piece.text : '';
      const spaces = text.length - text.trimStart().length;
      const isBlank = text.endsWith('\n') && spaces === text.length;
      if (isStart && !isBlank) {
        common = Math.min(common, spaces);
        if (piece.kind === 'text') begin.push(piece);
      }
      isStart = text.endsWith('\n');
    }
    for (const piece of begin) piece.text = piece.text.slice(common);
  }
}

function template(scanner: Scanner, { list }: Pieces, start: number): Expression {
  const place = scanner.place(start);
  let at = 0;
  const misplaced = (piece: { kind: string; start: number }) =>
    scanner.error(
      'Unexpected template directive',
      `A template directive "${piece.kind}" has no beginning here.`,
      piece.start,
      piece.start + 2,
    );
  const read = (ends: readonly string[], opened?: { kind: string; start: number }): TemplatePart[] => {
    const parts: TemplatePart[] = [];
    for (; ; at++) {
      const piece = list[at];
      if (piece === undefined) {
        if (opened === undefined) return parts;
        throw scanner.error(
          'Unterminated template directive',
          `The directive "${opened.kind}" has no end.`,
          opened.start,
          opened.start + 2,
        );
      }
      if (ends.includes(piece.kind)) return parts;
      if (piece.kind === 'text') parts.push(piece);
      else if (piece.kind === 'value') parts.push({ kind: 'value', expression: piece.expression });
      else if (piece.kind === 'if') {
        at++;
        const yes = read(['else', 'endif'], piece);
        let no: TemplatePart[] = [];
        if (list[at]?.kind === 'else') {
          at++;
          no = read(['endif'], piece);
        }
        parts.push({ kind: 'if', condition: piece.condition, yes, no });
      } else if (piece.kind === 'for') {
        at++;
        parts.push({ kind: 'for', ...piece.head, body: read(['endfor'], piece) });
      } else throw misplaced(piece);
    }
  };
  return { kind: 'template', parts: read([]), place };
}
