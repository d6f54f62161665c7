/** The machine behind `expandWord`: one pass over the characters of a word. */
import { DrydockError, fail } from '../../../errors/index.ts';
import { isSpace } from '../parse/space.ts';
import type { Env, ExpandOptions } from './expand.ts';
import { replaceGlob, trimPrefix, trimSuffix } from './glob.ts';

/**
 * The longest value: `ENV a=$a$a` doubles, and a chain of them must not fill the memory. Linux takes no environment
 * value over 128 KiB.
 */
const MAX_VALUE = 1 << 20;
const MAX_DEPTH = 100;

const LETTER = /\p{L}/u;
const DIGIT = /\p{Nd}/u;
const SPECIAL_PARAMETERS = '@*#?-$!0';

function bad(message: string, hint?: string): DrydockError {
  return fail('invalid', 'dockerfile', message, hint === undefined ? {} : { hint });
}

const missingBrace = () => bad("syntax error: missing '}'", 'Close the substitution with a }.');

/** Gathers words: it splits unquoted text at spaces, and keeps quoted text whole. */
class Words {
  readonly words: string[] = [];
  private current = '';

  /** Unquoted text. */
  add(text: string): void {
    for (const ch of text) {
      if (!isSpace(ch)) this.current += ch;
      else this.end();
    }
  }

  /** Quoted or escaped text. */
  addRaw(text: string): void {
    this.current += text;
  }

  end(): void {
    if (this.current !== '') this.words.push(this.current);
    this.current = '';
  }
}

export class WordLexer {
  readonly used = new Set<string>();
  readonly unset = new Set<string>();
  private readonly source: string;
  private readonly chars: string[];
  private readonly env: Env;
  private readonly escape: string;
  private readonly options: ExpandOptions;
  private rawEscapes: boolean;
  private at = 0;
  private depth = 0;
  private produced = 0;

  constructor(source: string, env: Env, options: ExpandOptions) {
    this.source = source;
    this.chars = [...source];
    this.env = env;
    this.escape = options.escape;
    this.options = options;
    this.rawEscapes = options.rawEscapes ?? false;
  }

  /** Throws as `expandWord` says. */
  run(): { value: string; words: string[] } {
    const words = new Words();
    try {
      const value = this.until(undefined, words);
      words.end();
      return { value, words: words.words };
    } catch (err) {
      if (!(err instanceof DrydockError)) throw err;
      const shown = this.source.length > 200 ? `${this.source.slice(0, 200)}…` : this.source;
      throw fail('invalid', 'dockerfile', `failed to process ${JSON.stringify(shown)}: ${err.message}`, {
        hint: err.hint,
        cause: err,
      });
    }
  }

  /** Reads up to an unquoted `stop` (consumed), or to the end. */
  private until(stop: string | undefined, words?: Words): string {
    let result = '';
    while (this.at < this.chars.length) {
      const ch = this.chars[this.at]!;
      if (ch === stop) {
        this.at++;
        return result;
      }
      if (ch === '$') {
        const value = this.dollar();
        result += value;
        words?.add(value);
      } else if (ch === '<') {
        const text = this.heredocMark();
        result += text;
        words?.addRaw(text);
      } else if ((ch === "'" || ch === '"') && !this.options.skipQuotes) {
        const text = ch === "'" ? this.singleQuoted() : this.doubleQuoted();
        result += text;
        words?.addRaw(text);
      } else if (ch === this.escape) {
        let text = this.rawEscapes ? ch : '';
        this.at++;
        // an escape at the very end is dropped
        if (this.at < this.chars.length) text += this.chars[this.at++]!;
        result += text;
        words?.addRaw(text);
      } else {
        this.at++;
        result += ch;
        words?.add(ch);
      }
    }
    if (stop !== undefined) throw bad(`unexpected end of statement while looking for matching ${stop}`);
    return result;
  }

  /** `until` for a part of `${…}`, with escapes kept for patterns. */
  private part(stop: '}' | '/', rawEscapes: boolean): string {
    if (++this.depth > MAX_DEPTH)
      throw bad('substitutions are nested too deeply', `Nest at most ${MAX_DEPTH} levels of \${…}.`);
    const before = this.rawEscapes;
    this.rawEscapes = rawEscapes;
    try {
      return this.until(stop);
    } catch (err) {
      if (this.at < this.chars.length || !(err instanceof DrydockError)) throw err;
      if (!err.message.startsWith('unexpected end of statement')) throw err;
      throw stop === '}'
        ? missingBrace()
        : bad(`syntax error: missing '/' in \${}`, `Write \${name/pattern/replacement}.`);
    } finally {
      this.rawEscapes = before;
      this.depth--;
    }
  }

  /** `<<` takes the spaces behind it along, so that `<< EOF` is one word. */
  private heredocMark(): string {
    this.at++;
    if (this.chars[this.at] !== '<') return '<';
    let text = '<<';
    this.at++;
    while (this.chars[this.at] === ' ' || this.chars[this.at] === '\t' || this.chars[this.at] === '\r')
      text += this.chars[this.at++]!;
    return text;
  }

  private singleQuoted(): string {
    const end = this.chars.indexOf("'", this.at + 1);
    if (end < 0) {
      this.at = this.chars.length;
      throw bad(
        'unexpected end of statement while looking for matching single-quote',
        'Close the quote, or escape it if an apostrophe is meant.',
      );
    }
    const text = this.chars.slice(this.at + 1, end).join('');
    this.at = end + 1;
    return this.options.rawQuotes ? `'${text}'` : text;
  }

  private doubleQuoted(): string {
    const quote = this.options.rawQuotes ? '"' : '';
    let text = quote;
    this.at++;
    while (this.at < this.chars.length) {
      const ch = this.chars[this.at]!;
      if (ch === '"') {
        this.at++;
        return text + quote;
      }
      if (ch === '$') {
        text += this.dollar();
        continue;
      }
      this.at++;
      if (ch !== this.escape) {
        text += ch;
        continue;
      }
      const next = this.chars[this.at];
      if (this.rawEscapes) text += ch;
      if (next === undefined) break;
      // inside double quotes only these can be escaped; elsewhere the escape character is itself
      if (next === '"' || next === '$' || next === this.escape) {
        text += next;
        this.at++;
      } else if (!this.rawEscapes) text += ch;
      else {
        text += next;
        this.at++;
      }
    }
    throw bad(
      'unexpected end of statement while looking for matching double-quote',
      'Close the quote, or escape it if the character is meant.',
    );
  }

  private look(name: string): string | undefined {
    const value = this.env(name);
    (value === undefined ? this.unset : this.used).add(name);
    return value;
  }

  private dollar(): string {
    const value = this.substitution();
    this.produced += value.length;
    if (this.produced > MAX_VALUE)
      throw bad(
        'the expanded value is longer than 1 MiB',
        'A variable that contains itself grows with every use.',
      );
    return value;
  }

  private substitution(): string {
    this.at++;
    if (this.chars[this.at] !== '{') {
      const name = this.name();
      if (name === '') return '$';
      return this.look(name) ?? (this.options.keepUnset ? `$${name}` : '');
    }
    this.at++;
    const first = this.chars[this.at];
    if (first === undefined) throw missingBrace();
    if (first === '{' || first === '}' || first === ':')
      throw bad('syntax error: bad substitution', `Write \${name} or \${name:-default}.`);
    const name = this.name();
    let operator = this.chars[this.at++];
    if (operator === undefined) throw missingBrace();
    if (operator === '}') return this.look(name) ?? (this.options.keepUnset ? `\${${name}}` : '');
    if (operator === '/') return this.replace(name);
    const nullIsUnset = operator === ':';
    if (nullIsUnset) operator = this.chars[this.at++];
    if (operator === undefined) throw missingBrace();
    const written = nullIsUnset ? `:${operator}` : operator;
    const pattern = operator === '#' || operator === '%';
    if (!'+-?#%'.includes(operator) || (nullIsUnset && pattern))
      throw bad(
        `unsupported modifier (${written}) in substitution`,
        'Supported are :- - :+ + :? ? # ## % %% / and //.',
      );
    const word = this.part('}', pattern);
    const value = this.look(name);
    if (value === undefined && this.options.keepUnset) return `\${${name}${written}${word}}`;
    const missing = value === undefined || (nullIsUnset && value === '');
    switch (operator) {
      case '-':
        return missing ? word : value;
      case '+':
        return missing ? '' : word;
      case '?':
        if (missing) {
          const why = value === undefined ? 'is not allowed to be unset' : 'is not allowed to be empty';
          throw bad(`${name}: ${word || why}`, `Give ${name} a value, for example with --build-arg or ENV.`);
        }
        return value;
      default: {
        const longest = word.startsWith(operator);
        const trim = operator === '#' ? trimPrefix : trimSuffix;
        return trim(value ?? '', longest ? word.slice(1) : word, longest, this.escape);
      }
    }
  }

  private replace(name: string): string {
    const all = this.chars[this.at] === '/';
    if (all) this.at++;
    const pattern = this.part('/', true);
    const replacement = this.part('}', false);
    const value = this.look(name);
    if (value === undefined && this.options.keepUnset)
      return `\${${name}${all ? '//' : '/'}${pattern}/${replacement}}`;
    return replaceGlob(value ?? '', pattern, replacement, all, this.escape);
  }

  /** A name (letters, digits, _), a positional parameter, or one special parameter; '' when there is none. */
  private name(): string {
    const start = this.at;
    const first = this.chars[start];
    if (first === undefined) return '';
    if (DIGIT.test(first)) {
      while (this.at < this.chars.length && DIGIT.test(this.chars[this.at]!)) this.at++;
    } else if (SPECIAL_PARAMETERS.includes(first)) this.at++;
    else {
      while (this.at < this.chars.length) {
        const ch = this.chars[this.at]!;
        if (ch !== '_' && !LETTER.test(ch) && !DIGIT.test(ch)) break;
        this.at++;
      }
    }
    return this.chars.slice(start, this.at).join('');
  }
}
