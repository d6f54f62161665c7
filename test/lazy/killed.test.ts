import { expect, test } from 'vitest';
import { awaitsKill, isKilled } from '../../src/lazy/killed.ts';

test('a kill is told from other signals, which the thread alone or its process has', () => {
  const status = (thread: string, process: string) =>
    `Name:\tx\nSigQ:\t0/9\nSigPnd:\t${thread}\nShdPnd:\t${process}\nSigBlk:\t0000000000000100\n`;
  const none = '0000000000000000';
  expect(awaitsKill(status(none, none))).toBe(false);
  expect(awaitsKill(status('0000000000002000', '0000000000010000'))).toBe(false);
  expect(awaitsKill(status('0000000000002100', none))).toBe(true);
  expect(awaitsKill(status(none, 'ffffffff00000100'))).toBe(true);
});

test('a thread of which nothing can be learnt counts as killed', () => {
  expect([process.pid, 0, 2 ** 30].map(isKilled)).toEqual([false, true, true]);
});
