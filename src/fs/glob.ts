/** Glob patterns as Go's filepath.Match has them: https://pkg.go.dev/path/filepath#Match (Unix). */
import { fail } from '../errors/error.ts';

/** A pattern compiled to a test of whole names. */
export type Glob = (name: string) => boolean;

/**
 * Compiles a pattern: `*` any run without `/`, `?` one character but `/`, `[a-z]` and `[^a-z]` classes, `\` takes the
 * next character as it is. Throws `invalid` on a malformed pattern.
 */
export function compileGlob(pattern: string): Glob {
  if (!hasWildcard(pattern) && !pattern.includes('\\')) return (name) => name === pattern;
  const regex = new RegExp(`^${globSource(pattern)}$`, 'su');
  return (name) => regex.test(name);
}

/** Whether a path holds an unescaped `*`, `?` or `[`. */
export function hasWildcard(path: string): boolean {
  for (let i = 0; i < path.length; i++) {
    const ch = path[i];
    if (ch === '\\') i++;
    else if (ch === '*' || ch === '?' || ch === '[') return true;
  }
  return false;
}

/** Splits a path before its first part with a wildcard: the literal folder, and the rest as a pattern. */
export function splitWildcards(path: string): { base: string; pattern: string } {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const at = parts.findIndex(hasWildcard);
  if (at < 0) return { base: `/${parts.join('/')}`, pattern: '' };
  return { base: `/${parts.slice(0, at).join('/')}`, pattern: parts.slice(at).join('/') };
}

function globSource(pattern: string): string {
  const chars = [...pattern];
  let out = '';
  for (let i = 0; i < chars.length; i++) {
    const ch = chars[i]!;
    if (ch === '*') {
      while (chars[i + 1] === '*') i++;
      out += '[^/]*';
    } else if (ch === '?') out += '[^/]';
    else if (ch === '[') {
      const set = parseClass(chars, i + 1, pattern);
      out += set.source;
      i = set.end;
    } else if (ch === '\\') {
      const next = chars[++i];
      if (next === undefined) throw badPattern(pattern);
      out += quote(next);
    } else out += quote(ch);
  }
  return out;
}

/** A class from behind its `[`. `end` is the index of its `]`. A range turned round matches nothing, as in Go. */
export function parseClass(chars: string[], from: number, pattern: string): { source: string; end: number } {
  let i = from;
  const negated = chars[i] === '^';
  if (negated) i++;
  let ranges = '';
  let count = 0;
  const one = (): string => {
    let ch = chars[i];
    if (ch === undefined || ch === '-' || ch === ']') throw badPattern(pattern);
    if (ch === '\\') {
      ch = chars[++i];
      if (ch === undefined) throw badPattern(pattern);
    }
    i++;
    if (chars[i] === undefined) throw badPattern(pattern);
    return ch;
  };
  while (chars[i] !== ']' || count === 0) {
    const low = one();
    let high = low;
    if (chars[i] === '-') {
      i++;
      high = one();
    }
    count++;
    if (low.codePointAt(0)! <= high.codePointAt(0)!) ranges += `${quoteInClass(low)}-${quoteInClass(high)}`;
  }
  if (ranges === '') return { source: negated ? '.' : '(?!)', end: i };
  return { source: `[${negated ? '^' : ''}${ranges}]`, end: i };
}

/** A character as itself in a regular expression. */
export function quote(ch: string): string {
  return /[\\^$.*+?()[\]{}|/]/.test(ch) ? `\\${ch}` : ch;
}

function quoteInClass(ch: string): string {
  return /[\\^\-\][(){}|/.*+?$]/.test(ch) ? `\\${ch}` : ch;
}

export function badPattern(pattern: string): Error {
  return fail('invalid', 'file', `syntax error in pattern ${JSON.stringify(pattern)}`, {
    hint: 'A "[" needs its "]", and a "\\" a character after it.',
  });
}
