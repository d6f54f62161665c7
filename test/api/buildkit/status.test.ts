/** Where the progress of a build is found: among the running builds, or in the history. */
import { expect, test } from 'vitest';
import { progressOf } from '../../../src/api/buildkit/control/status.ts';
import type { History } from '../../../src/api/buildkit/history/history.ts';
import { Jobs } from '../../../src/api/buildkit/jobs/jobs.ts';

const me = { owner: 'me', all: false };
const { signal } = new AbortController();

async function* nothing(): AsyncGenerator<never> {}

/** A history that is busy with other builds' records until `settle`, and has those of `refs`. */
function historyOf(...refs: string[]) {
  const busy = Promise.withResolvers<void>();
  const history: Pick<History, 'settled' | 'statusOf'> = {
    settled: () => busy.promise,
    statusOf: async (_, ref) => (refs.includes(ref) ? nothing() : undefined),
  };
  return { history, settle: () => busy.resolve() };
}

test('a build that begins and ends while the records of others are written is found', async () => {
  const jobs = new Jobs();
  const { history, settle } = historyOf();
  const asked = progressOf({ jobs, history }, me, 'a', signal);
  const { log, end } = jobs.start('me', 'a');
  await Promise.resolve();
  end();
  settle();
  expect((await asked).log).toBe(log);
});

test('a past build is told as that', async () => {
  const { history, settle } = historyOf('a');
  settle();
  const { log, past } = await progressOf({ jobs: new Jobs(), history }, me, 'a', signal);
  expect(log).toBeUndefined();
  expect(past).toBeDefined();
});

test('another owner’s build is not found', async () => {
  const jobs = new Jobs();
  const { history, settle } = historyOf();
  const leave = new AbortController();
  const asked = progressOf({ jobs, history }, me, 'a', leave.signal);
  jobs.start('other', 'a');
  settle();
  leave.abort();
  expect(await asked).toEqual({ log: undefined });
});
