/** Regular expressions as Go has them. Where JavaScript reads an expression the same way, both find the same. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Regex } from '../../src/patterns/regex.ts';

const find = (pattern: string, text: string) => new Regex(pattern).exec(text)?.groups;

test('what is found is what backtracking finds', () => {
  const part = fc.constantFrom(
    ...['a', 'b', '(a', '(b|', '(', ')', '|', '*', '+', '?', '*?', '+?', '??', '.', '^', '$', '[ab]', '[^a]'],
    ...['{2}', '{1,2}', '{0,2}?', '\\w', '\\b', '\\B', '(?:'],
  );
  fc.assert(
    fc.property(
      fc.array(part, { minLength: 1, maxLength: 8 }).map((parts) => parts.join('')),
      fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' ', '\n'), maxLength: 7 }),
      (pattern, text) => {
        // JavaScript takes no turn of a repeated group that is empty, where Go takes the first way that matches.
        if (/\)[*+?{]/.test(pattern) && /[*+?}]\?|[(|:]\||\|[|)]|\|$|[\^$]|\\[bB]/.test(pattern)) return;
        let js: RegExp;
        try {
          js = new RegExp(pattern);
          new RegExp(pattern, 'u');
        } catch {
          return;
        }
        const found = js.exec(text);
        const ours = new Regex(pattern).exec(text);
        expect([ours?.index, ours?.groups[0]]).toEqual([found?.index, found?.[0]]);
      },
    ),
    { numRuns: 2000 },
  );
});

describe('syntax', () => {
  test.each<[pattern: string, text: string, groups: (string | undefined)[] | undefined]>([
    ['(a)|(b)', 'b', ['b', undefined, 'b']],
    // Repetitions of what can be empty. Go's own answers:
    ['(b|[^a]*?)?', ' ', ['', '']],
    ['(b|[^a]*?)*', ' ', ['', '']],
    ['(b|[^a]*?)+', ' ', ['', '']],
    ['(?:a|b??){2,}', 'ba', ['']],
    ['(|b)*', 'b', ['', '']],
    ['(a*)+', 'b', ['', '']],
    ['(a|b)*?c', 'abc', ['abc', 'b']],
    ['[[:alpha:]]+', '12ab3', ['ab']],
    ['[[:^alpha:]]+', 'ab12', ['12']],
    ['\\p{Greek}\\pL', 'xαβ', ['αβ']],
    ['\\PL+', 'a12b', ['12']],
    ['\\P{^Greek}', 'xα', ['α']],
    ['[\\d-]+', 'a1-2', ['1-2']],
    ['\\Qa.b\\E+', 'a.bb', ['a.bb']],
    ['a.b', 'a\nb', undefined],
    ['(?s)a.b', 'a\nb', ['a\nb']],
    ['(?m)^b$', 'a\nb\nc', ['b']],
    ['(?U)a+', 'aaa', ['a']],
    ['(?U)a+?', 'aaa', ['aaa']],
    ['(?i:a)B', 'AB', ['AB']],
    ['(?i)[a-c]É', 'Bé', ['Bé']],
    ['a(?i)b|c', 'C', ['C']],
    ['\\x41\\x{1F600}\\103\\n', 'A😀C\n', ['A😀C\n']],
    ['[]a]+', 'a]', ['a]']],
    ['[^\\x00-\\x7F]', 'aé', ['é']],
    ['a{,2}', 'a{,2}', ['a{,2}']],
    ['\\Aa\\z', 'a\n', undefined],
    ['(?P<x>a)(?<y>b)', 'ab', ['ab', 'a', 'b']],
    ['', 'a', ['']],
  ])('%s in %j', (pattern, text, groups) => {
    expect(find(pattern, text)).toEqual(groups);
  });

  test('groups have names', () => {
    expect(new Regex('(?P<x>a)').exec('a')?.names).toEqual(new Map([['x', 1]]));
  });

  test.each([
    ['a**', 'invalid nested repetition operator: `**`'],
    ['*a', 'missing argument to repetition operator: `*`'],
    ['(a', 'missing closing ): `(a`'],
    ['a)', 'unexpected ): `a)`'],
    ['[a', 'missing closing ]'],
    ['[b-a]', 'invalid character class range: `b-a`'],
    ['(?=a)', 'invalid or unsupported Perl syntax: `(?=a`'],
    ['\\1', 'invalid escape sequence: `\\1`'],
    ['a\\', 'trailing backslash at end of expression'],
    ['a{1001}', 'invalid repeat count: `{1001}`'],
    ['(?P<x>a)(?P<x>b)', 'duplicate capture group name: `x`'],
    ['[[:foo:]]', 'invalid character class range: `[:foo:]`'],
    ['\\p{Foo}', 'invalid character class range: `\\p{Foo}`'],
    ['((a{100}){100}){100}', 'expression too large'],
    ['('.repeat(2000), 'expression nests too deeply'],
    ['a'.repeat(5000), 'it is longer than 4096 characters'],
  ])('%.20s is refused', (pattern, why) => {
    expect(() => new Regex(pattern)).toThrow(why);
  });
});
