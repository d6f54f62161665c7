/** Waiting for a thing of a name to come: a session, a build. */
import { expect, test } from 'vitest';
import { Arrivals } from '../../src/flow/arrivals.ts';

/** Whether it has resolved after all that is due now was done. */
async function isOver(promise: Promise<void>): Promise<boolean> {
  let over = false;
  void promise.then(() => {
    over = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  return over;
}

test('all who wait for a name are woken when something of it comes, and those of other names are not', async () => {
  const arrivals = new Arrivals();
  const waiting = [arrivals.next('a', 60_000), arrivals.next('a', 60_000)];
  const stop = new AbortController();
  const other = arrivals.next('b', 60_000, stop.signal);
  arrivals.tell('a');
  await Promise.all(waiting);
  expect(await isOver(other)).toBe(false);
  stop.abort();
  await other;
});

test('what came before is not waited for: who asks later waits for the next, or until the time is over', async () => {
  const arrivals = new Arrivals();
  arrivals.tell('a');
  const next = arrivals.next('a', 60_000);
  expect(await isOver(next)).toBe(false);
  arrivals.tell('a');
  await next;
  await arrivals.next('a', 1);
});
