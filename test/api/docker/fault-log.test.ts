/** What fails on the daemon's side is in its log with the cause, also where the answer is a stream that has begun. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { tarOf } from '../../kit/images.ts';

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startTestDaemon({ imageStore: 'local' });
  const body = tarOf({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
  await daemon.ask('POST', '/build?t=127.0.0.1:1/app', { body });
});
afterAll(() => daemon.stop());

/** The lines that a request adds to the log of what failed. */
async function logged(method: string, path: string, body?: Buffer) {
  const before = daemon.log().length;
  const { text } = await daemon.ask(method, path, { body });
  const lines = daemon.log().slice(before);
  return { text, faults: lines.filter(({ message }) => message === 'request failed') };
}

test.each([
  ['a pull', 'POST', '/images/create?fromImage=127.0.0.1:1/none', '/images/create', 'registry'],
  ['a push', 'POST', '/images/127.0.0.1:1/app/push', '/images/127.0.0.1:1/app/push', 'registry'],
])('%s from a registry that is not there', async (_, method, target, path, hop) => {
  const { faults } = await logged(method, target);
  expect(faults).toMatchObject([
    { level: 'error', path, hop, error: expect.stringContaining('127.0.0.1:1') },
  ]);
});

test('a save whose layer is gone', async () => {
  rmSync(join(daemon.dir, 'root', 'snapshots'), { recursive: true });
  const before = daemon.log().length;
  // Either is fine: a plain answer, or one that is cut off in the middle.
  await daemon.ask('GET', '/images/127.0.0.1:1/app/get').catch(() => {});
  const faults = daemon
    .log()
    .slice(before)
    .filter(({ message }) => message === 'request failed');
  expect(faults).toMatchObject([{ path: '/images/127.0.0.1:1/app/get', error: expect.any(String) }]);
});

test.each([
  ['a name that is none', 'POST', '/images/create?fromImage=A', undefined],
  ['an archive that is none', 'POST', '/images/load', Buffer.from('no tar')],
  ['an image that is not here', 'GET', '/images/none/get', undefined],
])('not what is the client’s own mistake: %s', async (_, method, target, body) => {
  const { text, faults } = await logged(method, target, body);
  expect(text).toMatch(/message|error/);
  expect(faults).toEqual([]);
});
