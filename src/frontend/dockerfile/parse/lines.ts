/** The lexer: it joins physical lines into instructions, and takes care of comments, continuations and heredocs. */
import type { SourceRange } from '../../../errors/index.ts';
import type { Finding, Heredoc } from '../ast.ts';
import { type Directive, DirectiveReader, parseEscape } from './directives.ts';
import { invalid, located, type SourceFile } from './errors.ts';
import { chompTabs, heredocMarks } from './heredoc.ts';
import { isSpace, trim, trimStart } from './space.ts';
import { jsonWords, splitCommand } from './words.ts';

/** The most bytes of one line, as in BuildKit. */
const MAX_LINE = 65535;

export interface InstructionLine {
  /** The text, with continuation lines joined. */
  text: string;
  range: SourceRange;
  comments: string[];
  heredocs: Heredoc[];
}

interface LexedFile {
  directives: Directive[];
  escape: '\\' | '`';
  checkRange?: SourceRange;
  findings: Finding[];
}

/** The line without the continuation at its end; undefined when there is none. A doubled escape is no continuation. */
function cutContinuation(line: string, esc: string): string | undefined {
  let end = line.length;
  while (end > 0 && (line[end - 1] === ' ' || line[end - 1] === '\t')) end--;
  if (end === 0 || line[end - 1] !== esc) return undefined;
  if (end > 1 && line[end - 2] === esc) return undefined;
  return line.slice(0, end - 1);
}

/** The line without carriage returns at its end. (A pattern would try at each of many returns inside.) */
function bare(line: string): string {
  let end = line.length;
  while (end > 0 && line[end - 1] === '\r') end--;
  return end === line.length ? line : line.slice(0, end);
}

function isComment(line: string): boolean {
  return trimStart(line).startsWith('#');
}

function isBlank(line: string): boolean {
  for (let i = 0; i < line.length; i++) if (!isSpace(line[i]!)) return false;
  return true;
}

/** Reads a Dockerfile's lines. `info` is complete once `instructions()` has been read to its end. */
export class LineReader {
  readonly info: LexedFile = { directives: [], escape: '\\', findings: [] };
  private readonly file: SourceFile;
  /** The physical lines without their ends (LF or CRLF). */
  private readonly lines: string[];
  private readonly directives = new DirectiveReader();
  private at = 0;

  constructor(file: SourceFile, esc: '\\' | '`' = '\\') {
    this.file = file;
    this.info.escape = esc;
    this.lines = (file.text.startsWith('\ufeff') ? file.text.slice(1) : file.text).split('\n');
    // the end of the last line is not another line
    if (this.lines.length > 1 && this.lines.at(-1) === '') this.lines.pop();
  }

  /** The range of the lines `first` to `last`, counted from 1. */
  range(first: number, last: number): SourceRange {
    const line = Math.max(1, Math.min(last, this.lines.length));
    return {
      start: { line: Math.min(first, line), character: 0 },
      end: { line, character: bare(this.lines[line - 1]!).length },
    };
  }

  /** The next line without its carriage return; with `whole`, with it. */
  private next(whole = false): string {
    const line = this.lines[this.at++]!;
    if (line.length > MAX_LINE / 4 && Buffer.byteLength(line) > MAX_LINE)
      throw this.error(
        invalid(
          `dockerfile line greater than max allowed size of ${MAX_LINE}`,
          'Break the line with a line continuation, or COPY the data from a file.',
        ),
        this.at,
      );
    return whole ? line : bare(line);
  }

  private error(err: unknown, first: number, last = first): unknown {
    return located(err, this.file, this.range(first, last));
  }

  *instructions(): Generator<InstructionLine> {
    let comments: string[] = [];
    while (this.at < this.lines.length) {
      const line = trimStart(this.next());
      const first = this.at;
      if (this.takeDirective(line)) continue;
      if (line.startsWith('#')) {
        const comment = trim(line.slice(1));
        if (comment === '') comments = [];
        else comments.push(comment);
        continue;
      }
      if (line === '') {
        comments = []; // a comment describes what follows right below only
        continue;
      }
      const text = this.joinContinuations(line);
      if (isBlank(text)) continue;
      const last = this.at;
      let heredocs: Heredoc[];
      try {
        heredocs = this.takeHeredocs(text);
      } catch (err) {
        throw this.error(err, first, last);
      }
      yield { text, range: this.range(first, this.at), comments, heredocs };
      comments = [];
    }
  }

  private takeDirective(line: string): boolean {
    try {
      const directive = this.directives.read(line);
      if (directive === undefined) return false;
      this.info.directives.push(directive);
      if (directive.name === 'escape') this.info.escape = parseEscape(directive.value);
      if (directive.name === 'check') this.info.checkRange = this.range(this.at, this.at);
      return true;
    } catch (err) {
      throw this.error(err, this.at);
    }
  }

  private joinContinuations(line: string): string {
    const { escape: esc, findings } = this.info;
    let rest = cutContinuation(line, esc);
    if (rest === undefined) return line;
    const parts = [rest];
    let empty = false;
    while (this.at < this.lines.length) {
      const more = this.next();
      if (isComment(more)) continue;
      if (isBlank(more)) {
        empty = true;
        continue;
      }
      rest = cutContinuation(more, esc);
      parts.push(rest ?? more);
      if (rest === undefined) break;
    }
    // BuildKit reports the instruction's last line
    const range = this.range(this.at, this.at);
    if (empty) findings.push({ rule: 'NoEmptyContinuation', message: 'Empty continuation line', range });
    return parts.join('');
  }

  private takeHeredocs(text: string): Heredoc[] {
    if (!text.includes('<<')) return [];
    let command = splitCommand(text, this.info.escape);
    if (command.keyword.toUpperCase() === 'ONBUILD') command = splitCommand(command.rest, this.info.escape);
    if (!['RUN', 'COPY', 'ADD'].includes(command.keyword.toUpperCase())) return [];
    if (command.rest.startsWith('[') && jsonWords(command.rest) !== undefined) return [];
    return heredocMarks(text).map((mark) => {
      const content: string[] = [];
      for (;;) {
        if (this.at >= this.lines.length)
          throw invalid('unterminated heredoc', `Add a line that is only ${JSON.stringify(mark.name)}.`);
        const whole = this.next(true);
        const end = bare(whole);
        if ((mark.chomp ? end.replace(/^\t+/, '') : end) === mark.name) break;
        content.push(whole, '\n');
      }
      const joined = content.join('');
      return { ...mark, content: mark.chomp ? chompTabs(joined) : joined };
    });
  }
}
