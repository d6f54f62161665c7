/** A daemon that has nothing to do gives memory back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Rest } from '../../src/daemon/rest.ts';

/** Makes garbage, and tells whether it is still there. */
function garbage(): () => boolean {
  const ref = new WeakRef({ much: new Array(100_000).fill('garbage') });
  return () => ref.deref() !== undefined;
}

test('garbage is collected once the daemon has been idle for a while', async () => {
  const rest = new Rest(() => true, 20);
  const isThere = garbage();
  rest.soon();
  await expect.poll(isThere, { timeout: 10_000 }).toBe(false);
});

test('a daemon that stops does not rest any more', async () => {
  let asked = false;
  const rest = new Rest(() => {
    asked = true;
    return false;
  }, 20);
  rest.soon();
  rest.stop();
  await sleep(100);
  expect(asked).toBe(false);
});
