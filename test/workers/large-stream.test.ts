import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { notePassed } from '../../src/workers/large-stream.ts';

test('the memory of a stream’s chunks is freed by small collections while it flows', async () => {
  const kinds: unknown[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries())
      kinds.push((entry as unknown as { detail: { kind: number } }).detail.kind);
  });
  observer.observe({ entryTypes: ['gc'] });
  for (let i = 0; i < 2000; i++) {
    const chunk = Buffer.alloc(64 << 10);
    notePassed(chunk.length);
    if (i % 100 === 0) await sleep(0);
  }
  await sleep(10);
  observer.disconnect();
  const minor = kinds.filter((kind) => kind === constants.NODE_PERFORMANCE_GC_MINOR);
  // 125 MB passed.
  expect(minor.length).toBeGreaterThan(10);
});
