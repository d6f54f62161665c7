/** Cuts an instruction's line into its keyword, flags and words. */
import { invalid } from './errors.ts';
import { cutBlank, isSpace, trim, trimStart } from './space.ts';

/** An instruction's line, cut into parts. */
export interface SplitLine {
  keyword: string;
  /** The flags, `--name=value`, with quotes and escapes resolved. */
  flags: string[];
  rest: string;
}

/** Cuts a line into keyword, flags and the rest. */
export function splitCommand(line: string, esc: string): SplitLine {
  const [keyword, args] = cutBlank(trim(line));
  if (args === undefined) return { keyword, flags: [], rest: '' };
  const { flags, rest } = takeFlags(args, esc);
  return { keyword, flags, rest: trim(rest) };
}

/** Takes the flags: the leading words that start with `--`. `--` alone ends them. */
function takeFlags(text: string, esc: string): { flags: string[]; rest: string } {
  const flags: string[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && isSpace(text[at]!)) at++;
    if (!text.startsWith('--', at)) return { flags, rest: text.slice(at) };
    let word = '';
    let quote = '';
    for (; at < text.length; at++) {
      const ch = text[at]!;
      if (quote !== '' && ch === quote) quote = '';
      else if (quote === '' && isSpace(ch)) break;
      else if (quote === '' && (ch === "'" || ch === '"')) quote = ch;
      else if (ch === esc) {
        at++;
        if (at < text.length) word += text[at]!;
      } else word += ch;
    }
    if (word === '--') return { flags, rest: text.slice(at) };
    flags.push(word);
  }
}

/** Words separated by whitespace outside quotes; quotes and escapes stay, for expansion. */
export function quotedWords(text: string, esc: string): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  let started = false;
  for (let at = 0; at < text.length; at++) {
    const ch = text[at]!;
    if (quote === '' && isSpace(ch)) {
      if (started && word !== '') words.push(word);
      word = '';
      started = false;
      continue;
    }
    started = true;
    if (ch === esc && quote !== "'") {
      at++;
      // an escape at the very end is dropped
      if (at < text.length) word += ch + text[at]!;
      continue;
    }
    if (quote === '' && (ch === "'" || ch === '"')) quote = ch;
    else if (ch === quote) quote = '';
    word += ch;
  }
  if (word !== '') words.push(word);
  return words;
}

/** Words separated by blanks, quotes or not. */
export function plainWords(text: string): string[] {
  return text === '' ? [] : text.split(/[\t\v\f\r ]+/);
}

/**
 * The exec form `["a", "b"]`; undefined when the text is not a JSON array, and thus the shell form. Throws `invalid`
 * for an array with anything but strings.
 */
export function jsonWords(text: string): string[] | undefined {
  const body = trimStart(text);
  if (!body.startsWith('[')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  if (!value.every((item) => typeof item === 'string'))
    throw invalid(
      'when using JSON array syntax, arrays must be comprised of strings only',
      'Put every element of the array in double quotes.',
    );
  return value;
}

/** The words of COPY, ADD and VOLUME: the JSON form, or words separated by blanks. */
export function jsonOrPlainWords(text: string): string[] {
  return jsonWords(text) ?? plainWords(text);
}
