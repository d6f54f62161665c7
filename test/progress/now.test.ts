import { afterEach, expect, test, vi } from 'vitest';
import { now } from '../../src/progress/now.ts';

afterEach(() => vi.restoreAllMocks());

test('the time goes on evenly, and follows a clock that was set, forwards and back', () => {
  const real = Date.now.bind(Date);
  let set = 0;
  vi.spyOn(Date, 'now').mockImplementation(() => real() + set);
  const isRight = () => Math.abs(now() - (real() + set)) < 60;
  expect(isRight()).toBe(true);
  for (const step of [3_600_000, -7_200_000, 0]) {
    set = step;
    expect(isRight()).toBe(true);
    const first = now();
    expect(now()).toBeGreaterThanOrEqual(first);
  }
});
