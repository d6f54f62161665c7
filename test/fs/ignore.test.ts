import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IgnoreMatcher, readIgnore } from '../../src/fs/ignore.ts';

describe('.dockerignore files', () => {
  test('comments and blank lines are left out, patterns are cleaned', () => {
    const text = '\ufeff# all\n\n  /build/ \n!  ./keep\n #not-a-comment\n./a/../b//c/\r\n.\n!\n';
    expect(readIgnore(text)).toEqual(['build', '!keep', '#not-a-comment', 'b/c', '.', '!']);
  });

  test('a lone "!" is an error that says so', () => {
    expect(() => new IgnoreMatcher(['!'])).toThrow(expect.objectContaining({ code: 'invalid' }));
  });

  test.each<[patterns: string[], excluded: string[], kept: string[]]>([
    [['*/temp*'], ['a/temp', 'a/temporary.txt', 'a/tempdir/x'], ['temp', 'a/b/temp']],
    [['*/*/temp*'], ['a/b/temporary.txt'], ['a/temp']],
    [['temp?'], ['tempa', 'tempb/x'], ['temp', 'tempab']],
    [['**/*.go'], ['a.go', 'x/a.go', 'x/y/z.go'], ['a.gob', 'go']],
    [['*.md', '!README.md'], ['a.md'], ['README.md', 'b/x.md', 'txt']],
    [
      ['*.md', '!README*.md', 'README-secret.md'],
      ['a.md', 'README-secret.md'],
      ['README.md', 'README-x.md'],
    ],
    [['*.md', 'README-secret.md', '!README*.md'], ['a.md'], ['README-secret.md']],
    [['node_modules'], ['node_modules', 'node_modules/x/y'], ['a/node_modules', 'node_modules2']],
    [['**/node_modules'], ['node_modules/x', 'a/b/node_modules/c'], ['a/node_module']],
    [['a/**'], ['a/b', 'a/b/c'], ['a', 'ab']],
    [['a/**/z'], ['a/z', 'a/b/z', 'a/b/c/z/d'], ['a/zz', 'z']],
    [['**'], ['a', 'a/b'], []],
    [
      ['**', '!src', '!*.txt'],
      ['a', 'lib/x.txt', 'srcs'],
      ['src', 'src/deep/file', 'x.txt'],
    ],
    [['.'], [], ['a', 'b/c']],
    [['/a'], [], ['b']],
    [
      ['a[bc]d', '[^x]y'],
      ['abd', 'acd', 'zy'],
      ['aed', 'xy'],
    ],
    [['a\\*b'], ['a*b'], ['aXb']],
    [['.git*'], ['.git', '.gitignore', '.git/config'], ['git', 'a/.git']],
    [['foo.(x)|$'], ['foo.(x)|$'], ['fooa(x)|$']],
    [
      ['docs', '!docs/api', 'docs/api/private'],
      ['docs/x', 'docs/api/private/y'],
      ['docs/api', 'docs/api/z'],
    ],
  ])('%j', (patterns, excluded, kept) => {
    const matcher = new IgnoreMatcher(
      patterns[0]?.startsWith('/') ? readIgnore(patterns.join('\n')) : patterns,
    );
    expect(excluded.filter((path) => !matcher.matches(path))).toEqual([]);
    expect(kept.filter((path) => matcher.matches(path))).toEqual([]);
  });

  test('a folder may be passed over when nothing below it can come out differently', () => {
    const below = (patterns: string[], dir: string) => {
      const matcher = new IgnoreMatcher(patterns);
      return matcher.canDifferBelow(dir, matcher.match(dir));
    };
    expect(below(['node_modules'], 'node_modules')).toBe(false);
    expect(below(['**', '!src/*.ts'], 'node_modules')).toBe(false);
    expect(below(['**', '!src/*.ts'], 'src')).toBe(true);
    expect(below(['**', '!**/*.ts'], 'node_modules')).toBe(true);
    expect(below(['vendor', '!v*/keep'], 'vendor')).toBe(true);
  });

  test('passing over folders never changes what is excluded', () => {
    const name = fc.constantFrom('a', 'b', 'c', 'ab');
    const part = fc.constantFrom('a', 'b', 'c', '*', '**', '?', 'a*', '[ab]');
    const pattern = fc
      .tuple(fc.boolean(), fc.array(part, { minLength: 1, maxLength: 4 }))
      .map(([exception, parts]) => (exception ? '!' : '') + parts.join('/'));
    const path = fc.array(name, { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(fc.array(pattern, { minLength: 1, maxLength: 5 }), path, (patterns, parts) => {
        const matcher = new IgnoreMatcher(patterns);
        let state = matcher.match(parts[0]!);
        for (let i = 1; i < parts.length; i++) {
          const dir = parts.slice(0, i).join('/');
          const next = matcher.match(parts.slice(0, i + 1).join('/'), state);
          if (!matcher.canDifferBelow(dir, state)) {
            expect(matcher.matches(parts.join('/'))).toBe(state.matched);
            return;
          }
          state = next;
        }
      }),
      { numRuns: 500 },
    );
  });
});
