/** Wildcards in paths, told from characters that are escaped. */
import { expect, test } from 'vitest';
import { hasWildcard, splitWildcards } from '../../src/words/index.ts';

test('a path splits before its first wildcard', () => {
  expect(splitWildcards('/a/b*/c')).toEqual({ base: '/a', pattern: 'b*/c' });
  expect(splitWildcards('/a/b')).toEqual({ base: '/a/b', pattern: '' });
  expect(splitWildcards('*.go')).toEqual({ base: '/', pattern: '*.go' });
  expect(['a\\*', 'a\\\\*', '[', 'a?', '\\\n', ''].map(hasWildcard)).toEqual([
    false,
    true,
    true,
    true,
    false,
    false,
  ]);
});
