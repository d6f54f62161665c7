/**
 * Glob patterns of Go's path.Match and filepath.Match (https://pkg.go.dev/path#Match), and the `**` that moby's
 * patternmatcher adds for `.dockerignore` files. Pure.
 */
import { clip, fail } from '../errors/index.ts';
import { Automaton, type AutomatonStep, type PatternMemory } from './automaton.ts';
import { type CharSet, rangesSet } from './program.ts';

const slash = 0x2f;
const notSlash: CharSet = (code) => code !== slash;
const any: CharSet = () => true;

/** A compiled pattern, which tests whole texts. */
export type Glob = (text: string) => boolean;

/** The longest pattern; longer ones match no path that a system allows (4096 bytes). */
const maxLength = 16_384;

/**
 * Compiles a pattern: `*` stands for any run without `/`, `?` for one character but `/`, `[a-z]` and `[^a-z]` for
 * classes (which may contain `/`), and `\` takes the next character literally. `deep`: `**` stands for any number of
 * folders, at the end for anything. `memory` is shared when there are many patterns. A test takes at most pattern ×
 * text steps. Throws `invalid` on a malformed pattern.
 *
 *     compileGlob('src/*.go')('src/main.go') // true
 */
export function compileGlob(pattern: string, deep = false, memory: PatternMemory = { left: 1 << 16 }): Glob {
  if (pattern.length > maxLength) {
    throw fail('invalid', 'file', `the pattern ${JSON.stringify(clip(pattern, 40))} is too long`, {
      hint: `A pattern has at most ${maxLength} characters.`,
    });
  }
  const code: AutomatonStep[] = [];
  const literal = (char: number) => void code.push({ op: 'char', code: char });
  const loop = (has: CharSet) => {
    const at = code.length;
    code.push({ op: 'split', first: at + 1, second: at + 3 }, { op: 'set', has }, { op: 'jump', to: at });
  };
  let wildcards = 0;
  let prefix = '';
  let suffix = '';
  const wild = () => {
    wildcards++;
    suffix = '';
  };
  for (let i = 0; i < pattern.length; ) {
    const char = pattern.codePointAt(i) as number;
    const text = String.fromCodePoint(char);
    i += text.length;
    if (text === '*') {
      wild();
      if (!deep) {
        while (pattern[i] === '*') i++;
        loop(notSlash);
      } else if (pattern[i] !== '*') loop(notSlash);
      else {
        i++;
        if (pattern[i] === '/') i++;
        if (i >= pattern.length) {
          if (wildcards === 1) return (text) => text.startsWith(prefix);
          loop(any);
        } else {
          // This matches nothing, or anything up to a slash.
          const at = code.length;
          code.push({ op: 'split', first: at + 1, second: at + 5 });
          loop(any);
          literal(slash);
        }
      }
    } else if (text === '?') {
      wild();
      code.push({ op: 'set', has: notSlash });
    } else if (text === '[') {
      wild();
      const read = readClass(pattern, i);
      if (read === undefined) throw badPattern(pattern);
      code.push({ op: 'set', has: read.has });
      i = read.end;
    } else {
      let plain = text;
      if (text === '\\') {
        const next = pattern.codePointAt(i);
        if (next === undefined) throw badPattern(pattern);
        plain = String.fromCodePoint(next);
        i += plain.length;
      }
      literal(plain.codePointAt(0) as number);
      if (wildcards === 0) prefix += plain;
      suffix += plain;
    }
  }
  if (wildcards === 0) return (text) => text === prefix;
  let automaton: Automaton | undefined;
  return (text) => {
    if (!text.startsWith(prefix) || !text.endsWith(suffix)) return false;
    automaton ??= new Automaton(code, memory);
    return automaton.matches(text);
  };
}

function badPattern(pattern: string): Error {
  return fail('invalid', 'file', `syntax error in pattern ${JSON.stringify(clip(pattern, 1000))}`, {
    hint: 'A "[" needs its "]", and a "\\" a character after it.',
  });
}

/** Parses a class after its `[`; `end` is the place after its `]`. A reversed range matches nothing, as in Go. */
function readClass(pattern: string, from: number): { has: CharSet; end: number } | undefined {
  let i = from;
  const negated = pattern[i] === '^';
  if (negated) i++;
  const one = (): number | undefined => {
    if (i >= pattern.length || pattern[i] === '-' || pattern[i] === ']') return undefined;
    if (pattern[i] === '\\') i++;
    const char = pattern.codePointAt(i);
    if (char === undefined) return undefined;
    i += char > 0xffff ? 2 : 1;
    return i < pattern.length ? char : undefined;
  };
  const ranges: [number, number][] = [];
  while (pattern[i] !== ']' || ranges.length === 0) {
    const low = one();
    if (low === undefined) return undefined;
    let high: number | undefined = low;
    if (pattern[i] === '-') {
      i++;
      high = one();
      if (high === undefined) return undefined;
    }
    ranges.push([low, high]);
  }
  const within = rangesSet(ranges);
  return { has: negated ? (code) => !within(code) : within, end: i + 1 };
}
