/** A daemon that has nothing to do gives memory back. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Relief } from '../../src/daemon/relief.ts';
import { Rest } from '../../src/daemon/rest.ts';
import { collectAll, runTask } from '../../src/workers/index.ts';

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

test('with many builds it gives back what it does not use, and stops when they are few', async () => {
  // Freed memory below other memory, which the allocator keeps.
  const chunks = Array.from({ length: 2000 }, () => Buffer.alloc(40_000, 1));
  const last = chunks.at(-1);
  chunks.length = 0;
  collectAll();
  const before = process.memoryUsage.rss();
  let many = true;
  let asked = 0;
  const relief = new Relief(
    () => {
      asked++;
      return many;
    },
    { pause: 20, least: 0 },
  );
  relief.begin();
  relief.begin();
  await expect.poll(() => process.memoryUsage.rss()).toBeLessThan(before - 20_000_000);
  expect(last?.length).toBe(40_000);
  many = false;
  const until = asked;
  await expect.poll(() => asked).toBe(until + 1);
  await sleep(100);
  expect(asked).toBe(until + 1);
});

test('what is small is kept', async () => {
  let asked = 0;
  const relief = new Relief(() => asked++ < 3, { pause: 5, least: Number.POSITIVE_INFINITY });
  const before = process.memoryUsage.rss();
  relief.begin();
  await expect.poll(() => asked).toBe(4);
  expect(process.memoryUsage.rss()).toBeGreaterThan(before - 5_000_000);
});

test('a thread that works does not end with the others', async () => {
  const rest = new Rest(() => true, 5);
  const working = runTask('test.echo', { text: 'long', spinMs: 1000 });
  rest.soon();
  expect(await working).toBe('long');
  rest.stop();
});
