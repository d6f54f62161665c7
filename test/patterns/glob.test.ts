/** Globs: Go's path.Match, and moby's `**`, without ever trying a text twice. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileGlob } from '../../src/patterns/glob.ts';

/** The same by trying everything, for small texts. */
function tries(pattern: string, text: string, deep: boolean): boolean {
  if (pattern === '') return text === '';
  const rest = (from: number, at: number) => tries(pattern.slice(from), text.slice(at), deep);
  if (deep && pattern.startsWith('**')) {
    const from = pattern[2] === '/' ? 3 : 2;
    if (from >= pattern.length) return true;
    if (rest(from, 0)) return true;
    return [...text].some((char, i) => char === '/' && rest(from, i + 1));
  }
  if (pattern[0] === '*') {
    for (let i = 0; i <= text.length; i++) {
      if (rest(1, i)) return true;
      if (text[i] === '/') return false;
    }
    return false;
  }
  if (text === '') return false;
  if (pattern[0] === '?') return text[0] !== '/' && rest(1, 1);
  const cls = /^\[(\^?)([ab])-([ab])\]/.exec(pattern);
  if (cls !== null) {
    const within = (cls[2] as string) <= (text[0] as string) && (text[0] as string) <= (cls[3] as string);
    return within !== (cls[1] === '^') && rest(cls[0].length, 1);
  }
  if (pattern[0] === '\\') return pattern[1] === text[0] && rest(2, 1);
  return pattern[0] === text[0] && rest(1, 1);
}

const pattern = fc
  .array(fc.constantFrom('a', 'b', '/', '*', '**', '**/', '?', '[a-b]', '[^a-a]', '[b-a]', '\\*', '\\a'), {
    maxLength: 7,
  })
  .map((parts) => parts.join(''));
const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '*', '\n'), maxLength: 7 });

describe('a glob matches what trying everything finds', () => {
  test.each([false, true])('with ** as any depth: %s', (deep) => {
    fc.assert(
      fc.property(pattern, text, (glob, path) => {
        expect(compileGlob(glob, deep)(path)).toBe(tries(glob, path, deep));
      }),
      { numRuns: 2000 },
    );
  });

  test('also when it has no memory left for what it saw before', () => {
    fc.assert(
      fc.property(pattern, fc.array(text, { maxLength: 4 }), fc.nat({ max: 700 }), (glob, paths, left) => {
        const matches = compileGlob(glob, true, { left });
        for (const path of paths) expect(matches(path)).toBe(tries(glob, path, true));
      }),
      { numRuns: 500 },
    );
  });
});

test('characters are whole code points; half of a pair is one, too', () => {
  expect(compileGlob('a?b')('a😀b')).toBe(true);
  expect(compileGlob('[😀-😂]')('😁')).toBe(true);
  expect(compileGlob('a?b')('a\udc00b')).toBe(true);
  expect(compileGlob('?')('a😀')).toBe(false);
});

test('a pattern longer than any path is refused', () => {
  expect(() => compileGlob('a'.repeat(20_000))).toThrow(/is too long/);
});

describe("Go's filepath.Match", () => {
  // The table of Go's own documentation and tests, by their meaning.
  test.each<[string, string, boolean]>([
    ['abc', 'abc', true],
    ['*', 'abc', true],
    ['*c', 'abc', true],
    ['a*', 'a', true],
    ['a*', 'ab/c', false],
    ['a*/b', 'abc/b', true],
    ['a*/b', 'a/c/b', false],
    ['a*b*c*d*e*/f', 'axbxcxdxe/f', true],
    ['a*b?c*x', 'abxbbxdbxebxczzx', true],
    ['ab[c]', 'abc', true],
    ['ab[b-d]', 'abc', true],
    ['ab[e-g]', 'abc', false],
    ['ab[^c]', 'abc', false],
    ['ab[^e-g]', 'abc', true],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'ab', false],
    ['a?b', 'a☺b', true],
    ['a[^a]b', 'a☺b', true],
    ['a???b', 'a☺b', false],
    ['[a-ζ]*', 'α', true],
    ['*[a-ζ]', 'A', false],
    ['a?b', 'a/b', false],
    ['[\\]a]', ']', true],
    ['[\\-x]', '-', true],
    ['[x\\-]', 'z', false],
    ['[z-a]', 'b', false],
    ['*x', 'xxx', true],
    ['a.b', 'axb', false],
  ])('%s on %s: %s', (pattern, name, expected) => {
    expect(compileGlob(pattern)(name)).toBe(expected);
  });

  test.each(['[]a]', '[-]', '[x-]', '[-x]', '[', '[^', 'a[', '[a-b-c]', 'a\\'])(
    '%s is malformed',
    (pattern) => {
      expect(() => compileGlob(pattern)).toThrow(/syntax error in pattern/);
    },
  );
});
