/** Processes that join the first one of a container. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ExecControl } from '../../src/executor/types.ts';
import { Harness } from './harness.ts';

let h: Harness;
beforeAll(() => {
  h = new Harness();
});
afterAll(() => h.close());

/** Runs `body` while a container with so much memory sleeps. */
async function inContainer<T>(
  memory: number,
  body: (join: (script: string) => ReturnType<ExecControl['exec']>) => Promise<T>,
) {
  const stop = new AbortController();
  const { spec } = h.spec('while :; do sleep 1; done', { resources: { memory, memorySwap: memory } });
  const quiet = { stdout() {}, stderr() {} };
  const started = Promise.withResolvers<ExecControl>();
  const running = h.executor.run(spec, { ...quiet, started: started.resolve }, stop.signal);
  running.catch(started.reject);
  const control = await started.promise;
  try {
    return await body((script) => control.exec(h.spec(script).spec, quiet, stop.signal));
  } finally {
    stop.abort();
    await running.catch(() => {});
  }
}

test('running out of the container’s memory is told, of the process that did', async () => {
  const memory = 40 << 20;
  const [before, big, calm, after] = await inContainer(memory, async (join) => [
    await join('exit 3'),
    await join('head -c 100000000 /dev/zero | tail'),
    await join('(head -c 100000000 /dev/zero | tail); true'),
    await join('exit 4'),
  ]);
  expect(before).toEqual({ exitCode: 3, shortage: undefined });
  expect(big).toMatchObject({
    exitCode: expect.toSatisfy((code) => code !== 0),
    shortage: { limit: memory },
  });
  expect(calm).toEqual({ exitCode: 0, shortage: { limit: memory } });
  // What was killed before is no matter of this one's.
  expect(after).toEqual({ exitCode: 4, shortage: undefined });
});
