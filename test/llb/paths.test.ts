import { posix } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { absolutePath, normalPath } from '../../src/llb/paths.ts';

const path = fc
  .array(fc.constantFrom('a', 'b', '..', '.', '/', '//', '...'), { maxLength: 12 })
  .map((parts) => parts.join(''));

test('paths are cleaned as Node cleans them', () => {
  fc.assert(
    fc.property(path, path, (one, other) => {
      expect(normalPath(one)).toBe(posix.normalize(one));
      expect(normalPath(`/${one}`)).toBe(posix.join('/', one));
      expect(absolutePath(`/${one}`, other)).toBe(posix.resolve('/', `/${one}`, other));
    }),
    { numRuns: 2000 },
  );
});

test('in linear time, unlike Node', () => {
  const started = process.cpuUsage();
  const deep = 200_000;
  expect(normalPath(`${'a/b/'.repeat(deep)}${'../'.repeat(2 * deep)}x/`)).toBe('x/');
  expect(normalPath(`${'a/../../'.repeat(deep)}x`)).toBe(`${'../'.repeat(deep)}x`);
  const { user, system } = process.cpuUsage(started);
  expect((user + system) / 1000).toBeLessThan(2000);
});
