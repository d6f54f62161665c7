/** Heredoc words: `<<EOF`, `<<-EOF`, `<<"EOF"`, `3<<EOF`. */
import { expandWords } from '../expand/expand.ts';

/** A heredoc as its word announces it. The content follows on the next lines. */
interface HeredocMark {
  name: string;
  expand: boolean;
  chomp: boolean;
  fileDescriptor: number;
}

const nothing = () => undefined;

const quotes = (text: string) => text.split(/['"]/).length;

/** Reads one word as the mark of a heredoc; undefined when it is none. */
export function parseHeredocMark(word: string): HeredocMark | undefined {
  const match = /^(\d*)<<(-?)([^<]*)$/.exec(word);
  if (match === null) return undefined;
  const rest = match[3]!.trimStart();
  if (rest === '') return undefined;
  const options = { escape: '\\', keepUnset: true } as const;
  let names: string[];
  let raw: string[];
  try {
    names = expandWords(rest, nothing, options).values;
    raw = expandWords(rest, nothing, { ...options, rawQuotes: true }).values;
  } catch {
    return undefined; // an unmatched quote: not a heredoc
  }
  if (names.length !== 1 || raw.length !== 1) return undefined;
  const fd = Number.parseInt(match[1]! || '0', 10);
  return {
    name: names[0]!,
    // some part of the word is quoted when lexing takes quotes away
    expand: quotes(names[0]!) === quotes(raw[0]!),
    chomp: match[2] === '-',
    fileDescriptor: Number.isSafeInteger(fd) ? fd : 0,
  };
}

/** The heredocs that an instruction's line announces, in order. */
export function heredocMarks(line: string): HeredocMark[] {
  if (!line.includes('<<')) return [];
  let words: string[];
  try {
    const options = { escape: '\\', keepUnset: true, rawQuotes: true, rawEscapes: true } as const;
    words = expandWords(line, nothing, options).values;
  } catch {
    return []; // an apostrophe somewhere: the line is for a shell to understand
  }
  return words.map(parseHeredocMark).filter((mark) => mark !== undefined);
}

/** The content of `<<-`: without tabs at the start of its lines. */
export function chompTabs(content: string): string {
  return content.replace(/^\t+/gm, '');
}
