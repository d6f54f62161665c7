/** How much of a step's output is shown, and that its last lines are kept however much that is. */
import { afterEach, expect, test, vi } from 'vitest';
import { type LogLimits, StepLog } from '../../../src/ops/exec/step-log.ts';
import type { VertexProgress } from '../../../src/progress/events.ts';

afterEach(() => vi.useRealTimers());

function logOf(limits?: LogLimits): { log: StepLog; shown: () => string } {
  const parts: string[] = [];
  const progress = { log: (_: number, data: Buffer | string) => parts.push(String(data)) };
  return { log: new StepLog(progress as unknown as VertexProgress, limits), shown: () => parts.join('') };
}

test('all of it, without a limit', () => {
  const { log, shown } = logOf();
  for (let i = 0; i < 50; i++) log.write(1, Buffer.alloc(100_000, 'x'));
  expect(shown()).toHaveLength(5_000_000);
});

test('so many bytes, and a word that the rest is left out', () => {
  const { log, shown } = logOf({ size: 2 << 20 });
  log.write(1, Buffer.alloc((2 << 20) - 1, 'x'));
  log.write(2, Buffer.from('ab'));
  log.write(1, Buffer.from('c'));
  expect(shown()).toBe(`${'x'.repeat((2 << 20) - 1)}a\n[output clipped, log limit 2MiB reached]\n`);
  expect(log.tail().at(-1)?.slice(-4)).toBe('xabc');
  const none = logOf({ size: 0 });
  none.log.write(1, Buffer.from('x'));
  expect(none.shown()).toBe('\n[output clipped, log limit 0B reached]\n');
});

test('so many bytes in a second, and more when it is slower again', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  const { log, shown } = logOf({ speed: 10 });
  log.write(1, Buffer.from('123456'));
  log.write(1, Buffer.from('789abcd'));
  log.write(1, Buffer.from('lost'));
  const first = '123456789a\n[output clipped, log limit 10B/s reached]\n';
  expect(shown()).toBe(first);
  vi.advanceTimersByTime(500);
  log.write(1, Buffer.from('again'));
  expect(shown()).toBe(`${first}again`);
  log.write(1, Buffer.from('!'));
  expect(shown()).toBe(`${first}again\n[output clipped, log limit 10B/s reached]\n`);
  expect(log.tail()).toEqual(['123456789abcdlostagain!']);
});
