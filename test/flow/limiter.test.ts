/** So many are at work at a time, and the others wait in line: steps, starts of containers, fetches, pushes. */
import { expect, test } from 'vitest';
import { Limiter } from '../../src/flow/limiter.ts';

const soon = () => new Promise((resolve) => setTimeout(resolve, 5));

test('the third waits until one of two is done, and a place given back twice frees one', async () => {
  const limiter = new Limiter(2);
  const [first] = await Promise.all([limiter.place(), limiter.place()]);
  const order: number[] = [];
  const third = limiter.place().then((end) => {
    order.push(3);
    return end;
  });
  const fourth = limiter.place().then(() => order.push(4));
  await soon();
  expect(order).toEqual([]);
  first();
  first();
  const end = await third;
  await soon();
  expect(order).toEqual([3]);
  end();
  await fourth;
  expect(order).toEqual([3, 4]);
});

test('one that gives up while it waits takes no place', async () => {
  const limiter = new Limiter(1);
  const end = await limiter.place();
  const giveUp = new AbortController();
  const waiting = limiter.place(giveUp.signal);
  const next = limiter.place();
  giveUp.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'canceled' });
  end();
  await next;
});

test('one that has given up before takes no place, though there is one', async () => {
  const limiter = new Limiter(1);
  await expect(limiter.place(AbortSignal.abort())).rejects.toMatchObject({ code: 'canceled' });
  (await limiter.place())();
});

test('work that fails gives its place back', async () => {
  const limiter = new Limiter(1);
  const failing = limiter.run(() => Promise.reject(new Error('no')));
  const working = limiter.run(async () => 'done');
  await expect(failing).rejects.toThrow('no');
  expect(await working).toBe('done');
});
