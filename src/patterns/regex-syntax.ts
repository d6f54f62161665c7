/** Parses the syntax of Go's regular expressions: https://github.com/google/re2/wiki/Syntax. Pure. */
import { type Assertion, atTextStart, type CharSet, rangesSet } from './program.ts';
import { posixClass, unicodeClass } from './regex-classes.ts';

/** A parsed expression, as a tree. */
export type RegexNode =
  | { kind: 'char'; code: number }
  | { kind: 'set'; has: CharSet }
  | { kind: 'assert'; holds: Assertion }
  | { kind: 'group'; index: number; body: RegexNode }
  | { kind: 'all'; parts: RegexNode[] }
  | { kind: 'one'; parts: RegexNode[] }
  /** `max` undefined: no limit. */
  | { kind: 'repeat'; body: RegexNode; min: number; max: number | undefined; greedy: boolean };

interface Flags {
  /** Case does not count. */
  i: boolean;
  /** `^` and `$` also match at the ends of lines. */
  m: boolean;
  /** `.` also matches the end of a line. */
  s: boolean;
  /** Repetitions are lazy, and those with a `?` greedy. */
  U: boolean;
}

const maxRepeat = 1000;
const maxDepth = 1000;
const newline = 10;

const digit = rangesSet([[0x30, 0x39]]);
const space: CharSet = (code) => code === 32 || code === 9 || code === 10 || code === 12 || code === 13;
const word: CharSet = (code) =>
  (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || digit(code) || code === 0x5f;
const not =
  (set: CharSet): CharSet =>
  (code) =>
    !set(code);
const perl: Readonly<Record<string, CharSet>> = {
  d: digit,
  D: not(digit),
  s: space,
  S: not(space),
  w: word,
  W: not(word),
};
const atWordEnd: Assertion = (before, after) => word(before) !== word(after);
const controls: Readonly<Record<string, number>> = { a: 7, f: 12, n: 10, r: 13, t: 9, v: 11 };

/** Parses an expression. Throws a plain Error in Go's words. */
export function readRegex(text: string): {
  node: RegexNode;
  groups: number;
  names: ReadonlyMap<string, number>;
} {
  return new Reader(text).read();
}

class Reader {
  readonly #text: string;
  #at = 0;
  #depth = 0;
  #groups = 0;
  readonly #names = new Map<string, number>();

  constructor(text: string) {
    this.#text = text;
  }

  read(): { node: RegexNode; groups: number; names: ReadonlyMap<string, number> } {
    const node = this.#alternatives({ i: false, m: false, s: false, U: false });
    if (this.#at < this.#text.length) throw new Error(`unexpected ): \`${this.#text}\``);
    return { node, groups: this.#groups, names: this.#names };
  }

  #take(expected: string): boolean {
    if (!this.#text.startsWith(expected, this.#at)) return false;
    this.#at += expected.length;
    return true;
  }

  #char(): number {
    const code = this.#text.codePointAt(this.#at);
    if (code === undefined) throw new Error('trailing backslash at end of expression');
    this.#at += code > 0xffff ? 2 : 1;
    return code;
  }

  /** Parses up to a `)` or the end. Flags that are set inside hold up to its end. */
  #alternatives(outer: Flags): RegexNode {
    if (++this.#depth > maxDepth) throw new Error('expression nests too deeply');
    const flags = { ...outer };
    const parts: RegexNode[] = [];
    do parts.push(this.#sequence(flags));
    while (this.#take('|'));
    this.#depth--;
    return parts.length === 1 ? (parts[0] as RegexNode) : { kind: 'one', parts };
  }

  #sequence(flags: Flags): RegexNode {
    const parts: RegexNode[] = [];
    let repeated = '';
    while (this.#at < this.#text.length && !/[|)]/.test(this.#text[this.#at] as string)) {
      const start = this.#at;
      const count = this.#count();
      if (count === undefined) {
        repeated = '';
        parts.push(...this.#atom(flags));
        continue;
      }
      const lazy = this.#take('?');
      const written = this.#text.slice(start, this.#at);
      const body = parts.pop();
      if (body === undefined) throw new Error(`missing argument to repetition operator: \`${written}\``);
      if (repeated !== '') throw new Error(`invalid nested repetition operator: \`${repeated}${written}\``);
      repeated = written;
      parts.push({ kind: 'repeat', body, ...count, greedy: lazy === flags.U });
    }
    return parts.length === 1 ? (parts[0] as RegexNode) : { kind: 'all', parts };
  }

  /** Parses a repetition operator; undefined when there is none. */
  #count(): { min: number; max: number | undefined } | undefined {
    if (this.#take('*')) return { min: 0, max: undefined };
    if (this.#take('+')) return { min: 1, max: undefined };
    if (this.#take('?')) return { min: 0, max: 1 };
    if (this.#text[this.#at] !== '{') return undefined;
    const pattern = /\{(\d{1,9})(?:(,)(\d{0,9}))?\}/y;
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) return undefined;
    this.#at = pattern.lastIndex;
    const min = Number(found[1]);
    const max = found[2] === undefined ? min : found[3] === '' ? undefined : Number(found[3]);
    if (min > maxRepeat || (max !== undefined && (max > maxRepeat || max < min))) {
      throw new Error(`invalid repeat count: \`${found[0]}\``);
    }
    return { min, max };
  }

  #atom(flags: Flags): RegexNode[] {
    if (this.#take('(')) return this.#group(flags);
    if (this.#take('[')) return [{ kind: 'set', has: this.#class(flags) }];
    if (this.#take('.')) {
      return [{ kind: 'set', has: flags.s ? () => true : (code) => code !== newline }];
    }
    if (this.#take('^')) return [begin(flags.m)];
    if (this.#take('$')) return [end(flags.m)];
    if (this.#take('\\')) return this.#escape(flags);
    return [literal(this.#char(), flags)];
  }

  #group(flags: Flags): RegexNode[] {
    if (!this.#take('?')) return [this.#capture(flags)];
    const name = /P?<([^>]*)>/y;
    name.lastIndex = this.#at;
    const named = name.exec(this.#text);
    if (named !== null) {
      this.#at = name.lastIndex;
      const text = named[1] as string;
      if (!/^\w+$/.test(text)) throw new Error(`invalid named capture: \`(?${named[0]}\``);
      if (this.#names.has(text)) throw new Error(`duplicate capture group name: \`${text}\``);
      this.#names.set(text, this.#groups + 1);
      return [this.#capture(flags)];
    }
    const set = /([imsU]*)(?:-([imsU]+))?([:)])/y;
    set.lastIndex = this.#at;
    const found = set.exec(this.#text);
    if (found === null) {
      throw new Error(
        `invalid or unsupported Perl syntax: \`(?${this.#text.slice(this.#at, this.#at + 2)}\``,
      );
    }
    this.#at = set.lastIndex;
    const changed = found[3] === ':' ? { ...flags } : flags;
    for (const flag of (found[1] ?? '') as Iterable<keyof Flags>) changed[flag] = true;
    for (const flag of (found[2] ?? '') as Iterable<keyof Flags>) changed[flag] = false;
    if (found[3] === ')') return [];
    const body = this.#alternatives(changed);
    this.#close();
    return [body];
  }

  #capture(flags: Flags): RegexNode {
    const index = ++this.#groups;
    const body = this.#alternatives(flags);
    this.#close();
    return { kind: 'group', index, body };
  }

  #close(): void {
    if (!this.#take(')')) throw new Error(`missing closing ): \`${this.#text}\``);
  }

  /** Parses an escape outside of a class, after its backslash. */
  #escape(flags: Flags): RegexNode[] {
    if (this.#take('A')) return [begin(false)];
    if (this.#take('z')) return [end(false)];
    if (this.#take('b')) return [{ kind: 'assert', holds: atWordEnd }];
    if (this.#take('B')) return [{ kind: 'assert', holds: (before, after) => !atWordEnd(before, after) }];
    if (this.#take('Q')) {
      const close = this.#text.indexOf('\\E', this.#at);
      const quoted = close < 0 ? this.#text.slice(this.#at) : this.#text.slice(this.#at, close);
      this.#at = close < 0 ? this.#text.length : close + 2;
      return [...quoted].map((char) => literal(char.codePointAt(0) as number, flags));
    }
    const set = this.#setEscape();
    if (set !== undefined) return [{ kind: 'set', has: flags.i ? folded(set) : set }];
    return [literal(this.#charEscape(), flags)];
  }

  /** Parses `\d`, `\pL` and the like, after the backslash. */
  #setEscape(): CharSet | undefined {
    const name = this.#text[this.#at] ?? '';
    if (Object.hasOwn(perl, name)) {
      this.#at++;
      return perl[name];
    }
    const unicode = /([pP])(?:\{(\^?)(\w+)\}|(\w))/y;
    unicode.lastIndex = this.#at;
    const found = unicode.exec(this.#text);
    if (found === null) return undefined;
    this.#at = unicode.lastIndex;
    const has = unicodeClass((found[3] ?? found[4]) as string);
    if (has === undefined) throw new Error(`invalid character class range: \`\\${found[0]}\``);
    return (found[1] === 'P') !== (found[2] === '^') ? not(has) : has;
  }

  /** Parses one escaped character, after its backslash. */
  #charEscape(): number {
    const start = this.#at;
    const hex = /x(?:\{([0-9A-Fa-f]{1,8})\}|([0-9A-Fa-f]{2}))/y;
    hex.lastIndex = start;
    const found = hex.exec(this.#text);
    const octal = /0[0-7]{0,2}|[1-7][0-7]{1,2}/y;
    octal.lastIndex = start;
    const eight = found === null ? octal.exec(this.#text) : null;
    if (found !== null || eight !== null) {
      this.#at = found === null ? octal.lastIndex : hex.lastIndex;
      const code =
        found === null
          ? Number.parseInt(eight?.[0] ?? '', 8)
          : Number.parseInt((found[1] ?? found[2]) as string, 16);
      if (code <= 0x10ffff) return code;
    } else {
      const code = this.#char();
      const char = String.fromCodePoint(code);
      if (Object.hasOwn(controls, char)) return controls[char] as number;
      if (code < 128 && !word(code)) return code;
    }
    throw new Error(`invalid escape sequence: \`\\${this.#text.slice(start, this.#at)}\``);
  }

  /** Parses a class, after its `[`. */
  #class(flags: Flags): CharSet {
    const start = this.#at;
    const negated = this.#take('^');
    const ranges: [number, number][] = [];
    const sets: CharSet[] = [];
    for (let first = true; ; first = false) {
      if (this.#at >= this.#text.length) {
        throw new Error(`missing closing ]: \`[${this.#text.slice(start)}\``);
      }
      if (!first && this.#take(']')) break;
      const posix = /\[:(\^?)(\w+):\]/y;
      posix.lastIndex = this.#at;
      const found = posix.exec(this.#text);
      if (found !== null) {
        const has = posixClass(found[2] as string);
        if (has === undefined) throw new Error(`invalid character class range: \`${found[0]}\``);
        sets.push(found[1] === '^' ? not(has) : has);
        this.#at = posix.lastIndex;
        continue;
      }
      if (this.#text[this.#at] === '\\') {
        this.#at++;
        const set = this.#setEscape();
        if (set !== undefined) {
          sets.push(set);
          continue;
        }
        this.#at--;
      }
      const from = this.#at;
      const low = this.#classChar();
      let high = low;
      if (this.#text[this.#at] === '-' && this.#text[this.#at + 1] !== ']') {
        this.#at++;
        high = this.#classChar();
      }
      if (high < low) {
        throw new Error(`invalid character class range: \`${this.#text.slice(from, this.#at)}\``);
      }
      ranges.push([low, high]);
    }
    if (ranges.length > 0) sets.push(rangesSet(ranges));
    const plain: CharSet = sets.length === 1 ? (sets[0] as CharSet) : (code) => sets.some((has) => has(code));
    const has = flags.i ? folded(plain) : plain;
    return negated ? not(has) : has;
  }

  #classChar(): number {
    if (this.#at >= this.#text.length) throw new Error(`missing closing ]: \`${this.#text}\``);
    return this.#take('\\') ? this.#charEscape() : this.#char();
  }
}

function begin(lines: boolean): RegexNode {
  const holds: Assertion = lines ? (before) => before === -1 || before === newline : atTextStart;
  return { kind: 'assert', holds };
}

function end(lines: boolean): RegexNode {
  return { kind: 'assert', holds: (_, after) => after === -1 || (lines && after === newline) };
}

function literal(code: number, flags: Flags): RegexNode {
  if (!flags.i) return { kind: 'char', code };
  return { kind: 'set', has: folded((other) => other === code) };
}

/** The characters of a set in either case. */
function folded(has: CharSet): CharSet {
  return (code) => {
    if (has(code)) return true;
    const char = String.fromCodePoint(code);
    return (
      has(char.toLowerCase().codePointAt(0) as number) || has(char.toUpperCase().codePointAt(0) as number)
    );
  };
}
