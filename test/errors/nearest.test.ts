import { expect, test } from 'vitest';
import { nearest } from '../../src/errors/nearest.ts';

test('a mistyped word finds the one that was meant, and a far one finds nothing', () => {
  const known = ['build', 'builder', 'RUN', 'COPY', 'no-cache'];
  expect(nearest('biuld', known)).toBe('build');
  expect(nearest('rn', known)).toBe('RUN');
  expect(nearest('no-cahce', known)).toBe('no-cache');
  expect(nearest('prune', known)).toBeUndefined();
  expect(nearest('', known)).toBeUndefined();
});
