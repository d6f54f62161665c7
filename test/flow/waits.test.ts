/** Waiting for others: until a signal fires, first come first served, a few at a time. */
import { expect, test } from 'vitest';
import { inParallel } from '../../src/flow/in-parallel.ts';
import { noticeStall } from '../../src/flow/notice-stall.ts';
import { orAbort } from '../../src/flow/or-abort.ts';
import { pause } from '../../src/flow/pause.ts';
import { Waiting } from '../../src/flow/waiting.ts';

test('a promise is waited for until the signal fires, and not at all when it has', async () => {
  const stop = new AbortController();
  expect(await orAbort(Promise.resolve('there'), stop.signal)).toBe('there');
  const never = orAbort(new Promise(() => {}), stop.signal);
  stop.abort('enough');
  await expect(never).rejects.toMatchObject({ code: 'canceled', cause: 'enough' });
  // What fails when nobody waits any more fails unheard.
  await expect(orAbort(Promise.reject(new Error('late')), stop.signal)).rejects.toMatchObject({
    code: 'canceled',
  });
});

test('a pause ends when the signal fires', async () => {
  const stop = new AbortController();
  await pause(1, stop.signal);
  const long = pause(60_000, stop.signal);
  stop.abort();
  await expect(long).rejects.toMatchObject({ code: 'canceled' });
});

test('a wait for the next item is noticed when it is long, and goes on', async () => {
  const next = Promise.withResolvers<void>();
  async function* items() {
    yield 1;
    yield 2;
    await next.promise;
    yield 3;
  }
  const seen: (number | string)[] = [];
  const stalled = () => {
    seen.push('stalled');
    next.resolve();
  };
  for await (const item of noticeStall(items(), 50, stalled)) seen.push(item);
  expect(seen).toEqual([1, 2, 'stalled', 3]);
});

test('in line, the first is served first, and one may leave from the middle', () => {
  const line = new Waiting<{ n: number }>();
  const all = Array.from({ length: 5000 }, (_, n) => ({ n }));
  for (const one of all) line.push(one);
  expect(line.remove(all[1]!)).toBe(true);
  expect(line.remove(all[1]!)).toBe(false);
  const served: number[] = [];
  for (let one = line.shift(); one !== undefined; one = line.shift()) served.push(one.n);
  expect(served).toEqual([0, ...Array.from({ length: 4998 }, (_, i) => i + 2)]);
  expect(line.shift()).toBeUndefined();
});

test('items are worked on a few at a time, and their results are in order', async () => {
  let now = 0;
  let most = 0;
  const results = await inParallel(
    [5, 1, 4, 2, 3],
    async (ms) => {
      most = Math.max(most, ++now);
      await pause(ms);
      now--;
      return ms * 10;
    },
    2,
  );
  expect(results).toEqual([50, 10, 40, 20, 30]);
  expect(most).toBe(2);
  await expect(inParallel([1, 2], () => Promise.reject(new Error('no')))).rejects.toThrow('no');
});
