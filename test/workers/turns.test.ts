/** Work in turns: what is cut gives what would have been made at once. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { atOnce, inTurns, sorted } from '../../src/workers/turns.ts';

test('a list is sorted as at once, and equal items stay in order', async () => {
  const compare = (a: { n: number }, b: { n: number }) => a.n - b.n;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(50), { maxLength: 20_000, size: 'max' }), async (numbers) => {
      const items = numbers.map((n, at) => ({ n, at }));
      const wanted = [...items].sort(compare);
      expect(atOnce(sorted(items, compare))).toEqual(wanted);
      expect(await inTurns(sorted(items, compare))).toEqual(wanted);
    }),
    { numRuns: 5 },
  );
});

test('work that is given up closes what it holds', async () => {
  let open = true;
  function* work(): Generator<void, void> {
    try {
      for (;;) yield;
    } finally {
      open = false;
    }
  }
  const signal = AbortSignal.timeout(50);
  await expect(inTurns(work(), signal)).rejects.toMatchObject({ code: 'canceled' });
  expect(open).toBe(false);
});
