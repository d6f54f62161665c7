/** A daemon that has nothing to do gives memory back. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Rest } from '../../src/daemon/rest.ts';
import { runTask } from '../../src/workers/index.ts';

/** Makes garbage, and tells whether it is still there. */
function garbage(): () => boolean {
  const ref = new WeakRef({ much: new Array(100_000).fill('garbage') });
  return () => ref.deref() !== undefined;
}

test('garbage is collected once the daemon has been idle for a while', async () => {
  const rest = new Rest(() => true, 20);
  const isThere = garbage();
  rest.soon();
  await expect.poll(isThere).toBe(false);
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

/** The names of this process's threads. */
function threadNames(): string[] {
  return readdirSync('/proc/self/task').map((id) =>
    readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim(),
  );
}

test('its threads end after a longer while, and are there again when there is work', async () => {
  expect(await runTask('test.echo', { text: 'before' })).toBe('before');
  expect(threadNames()).toContain('drydock');
  const rest = new Rest(() => true, 5);
  rest.soon();
  await expect.poll(threadNames).not.toContain('drydock');
  expect(await runTask('test.echo', { text: 'after' })).toBe('after');
  rest.stop();
});

test('a thread that works does not end with the others', async () => {
  const rest = new Rest(() => true, 5);
  const working = runTask('test.echo', { text: 'long', spinMs: 1000 });
  rest.soon();
  expect(await working).toBe('long');
  rest.stop();
});
