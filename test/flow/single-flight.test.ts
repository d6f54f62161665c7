/** Equal work that several want at once is done once; what one has given up, the next does for itself. */
import { expect, test } from 'vitest';
import { fail } from '../../src/errors/error.ts';
import { KeyedQueue } from '../../src/flow/keyed-queue.ts';
import { pause } from '../../src/flow/pause.ts';
import { SingleFlight } from '../../src/flow/single-flight.ts';

test('who wants the same at the same time gets the result of one run', async () => {
  const flight = new SingleFlight();
  let runs = 0;
  const work = async () => {
    await pause(1);
    return ++runs;
  };
  const same = [1, 2, 3].map(() => flight.run('key', undefined, work));
  const other = flight.run('other', undefined, work);
  expect(await Promise.all(same)).toEqual([1, 1, 1]);
  expect(await other).toBe(2);
  expect(await flight.run('key', undefined, work)).toBe(3);
});

test('a failure is that of all who wait for the run, and the next one tries again', async () => {
  const flight = new SingleFlight();
  const failing = () => Promise.reject(fail('corrupt', 'store', 'bad bytes'));
  const both = [flight.run('key', undefined, failing), flight.run('key', undefined, async () => 'unused')];
  for (const one of both) await expect(one).rejects.toMatchObject({ code: 'corrupt' });
  expect(await flight.run('key', undefined, async () => 'good')).toBe('good');
});

test('when the one who does it gives up, the next who waits does it, and only one of them', async () => {
  const flight = new SingleFlight();
  const stop = new AbortController();
  const began: string[] = [];
  const want = (name: string, signal?: AbortSignal) =>
    flight.run('key', signal, async () => {
      began.push(name);
      await pause(20, signal);
      return name;
    });
  const first = want('first', stop.signal);
  const [second, third] = [want('second'), want('third')];
  stop.abort();
  await expect(first).rejects.toMatchObject({ code: 'canceled' });
  expect([await second, await third]).toEqual(['second', 'second']);
  expect(began).toEqual(['first', 'second']);
});

test('one who waits may give up, and disturbs nobody', async () => {
  const flight = new SingleFlight();
  const stop = new AbortController();
  const first = flight.run('key', undefined, () => pause(20).then(() => 'done'));
  const waiting = flight.run('key', stop.signal, async () => 'unused');
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'canceled' });
  expect(await first).toBe('done');
});

test('work under one key is done in the order it was asked for, whatever came of that before', async () => {
  const queue = new KeyedQueue();
  const done: string[] = [];
  const work = (name: string, ms: number) => async () => {
    await pause(ms);
    done.push(name);
    if (name === 'b') throw new Error(name);
  };
  const all = [
    queue.run('x', work('a', 20)),
    queue.run('x', work('b', 5)),
    queue.run('x', work('c', 1)),
    queue.run('y', work('d', 1)),
  ];
  const outcomes = await Promise.allSettled(all);
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
  expect(done).toEqual(['d', 'a', 'b', 'c']);
});
