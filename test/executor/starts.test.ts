/** Containers start a few at a time; those that run count no more. */
import { expect, test } from 'vitest';
import { Starts } from '../../src/executor/starts.ts';

const never = new AbortController().signal;
const soon = () => new Promise((resolve) => setTimeout(resolve, 5));

test('the third waits until one of two has started, and who ends twice frees one turn', async () => {
  const starts = new Starts(2);
  const [first] = await Promise.all([starts.turn(never), starts.turn(never)]);
  const order: number[] = [];
  const third = starts.turn(never).then((end) => {
    order.push(3);
    return end;
  });
  const fourth = starts.turn(never).then(() => order.push(4));
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

test('who gives up while it waits takes no turn', async () => {
  const starts = new Starts(1);
  const end = await starts.turn(never);
  const giveUp = new AbortController();
  const waiting = starts.turn(giveUp.signal);
  const next = starts.turn(never);
  giveUp.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'canceled' });
  end();
  await next;
});
