/** Durations as Go reads them, wherever a flag, a filter or a configuration takes one. */
import { expect, test } from 'vitest';
import { recordFilter } from '../../src/api/buildkit/history/filter.ts';
import { parseDuration as flagDuration } from '../../src/cli/units.ts';
import { parseDuration as healthDuration } from '../../src/frontend/dockerfile/parse/healthcheck-duration.ts';
import { daysAndWeeks, durationMs, durationNs } from '../../src/words/duration.ts';
import { readTime } from '../../src/words/index.ts';

const ns = (text: string) => durationNs(text, (why) => new Error(why));

test.each([
  ['1h30m', 5_400_000],
  ['1.5s', 1500],
  ['300ms', 300],
  ['2us', 0.002],
  ['2µs', 0.002],
  ['.5h', 1_800_000],
  ['1.m', 60_000],
  ['+3s', 3000],
  ['-2h', -7_200_000],
  ['0', 0],
  ['26280h', 26_280 * 3_600_000],
])('%s is %d ms', (text, ms) => {
  expect(durationMs(text)).toBe(ms);
  expect(ns(text)).toBe(Math.round(ms * 1e6));
});

test.each([
  ['', 'invalid duration'],
  ['.s', 'invalid duration'],
  ['1h ', 'unknown unit "h " in duration'],
  ['5', 'missing unit in duration'],
  ['1h5', 'missing unit in duration'],
  ['1d', 'unknown unit "d" in duration'],
  ['3000000h', 'invalid duration'],
])('%j is none: %s', (text, why) => {
  expect(durationMs(text)).toBeUndefined();
  expect(() => ns(text)).toThrow(why);
});

test('days and weeks are ours: the command takes them, a filter of an API does not', () => {
  expect(durationMs('1w2d3h', daysAndWeeks)).toBe((9 * 24 + 3) * 3_600_000);
  expect(flagDuration('7d', 'until')).toBe(7 * 86_400_000);
  expect(() => flagDuration('-7d', 'until')).toThrow('invalid until "-7d": want a duration such as 24h');
  expect(() => flagDuration('', 'until')).toThrow('invalid until ""');
  expect(() => readTime('7d', 'until')).toThrow('invalid value for until: "7d"');
  expect(() => recordFilter(['startedAt>7d'])).toThrow('invalid time 7d');
  expect(() => healthDuration('7d')).toThrow('time: unknown unit "d" in duration "7d"');
});

test('a time of Docker’s API may be an age', () => {
  expect(readTime('1.5h', 'until', 10_000_000)).toBe(10_000_000 - 5_400_000);
  expect(readTime('.5h', 'until', 10_000_000)).toBe(10_000_000 - 1_800_000);
  expect(readTime('0', 'until', 10_000_000)).toBe(0);
});
