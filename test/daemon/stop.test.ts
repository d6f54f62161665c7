import { existsSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ApiHost } from '../../src/api/shared/host.ts';
import { statusOf } from '../../src/grpc/status.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

let daemon: TestDaemon;
let host: ApiHost;

beforeEach(async () => {
  daemon = await startTestDaemon({
    shutdownTimeout: 300,
    // The way to the daemon's running builds: what serves gRPC has them.
    grpc(given) {
      host = given;
      return { accept: (socket) => void socket.destroy(), close: async () => {} };
    },
  });
});
afterEach(() => daemon.stop());

/** A build that runs until it is told to end; cancelled, it ends with the reason. */
function slowBuild() {
  const { promise, resolve } = Promise.withResolvers<string>();
  const ended = host.builds.run({ id: 'slow', owner: 'me' }, new AbortController().signal, (signal) => {
    return new Promise<string>((done, failed) => {
      void promise.then(done);
      signal.addEventListener('abort', () => failed(signal.reason), { once: true });
    });
  });
  ended.catch(() => {});
  return { ended, finish: resolve };
}

describe('stopping', () => {
  test('waits for a build that ends in time', async () => {
    const build = slowBuild();
    const stopped = daemon.halt();
    build.finish('done');
    await stopped;
    expect(await build.ended).toBe('done');
    expect(existsSync(daemon.socket)).toBe(false);
  });
  test('hands back one that does not: its client is told to try again', async () => {
    const build = slowBuild();
    await daemon.halt();
    const error = await build.ended.catch((err: unknown) => err);
    expect(error).toMatchObject({ code: 'unavailable', hint: expect.stringContaining('Build again') });
    // What clients of BuildKit's API see, and try again elsewhere.
    expect(statusOf(error).code).toBe(14);
    expect(daemon.log().map(({ message }) => message)).toContain(
      'the deadline has passed: builds are handed back',
    );
  });
  test('one whose client had gone before is cancelled all the same', async () => {
    const gone = AbortSignal.abort(new Error('gone'));
    const ended = host.builds.run({ id: 'x', owner: 'me' }, gone, async (signal) => signal.throwIfAborted());
    await expect(ended).rejects.toMatchObject({ code: 'canceled' });
  });
  test('takes no new builds meanwhile', async () => {
    const build = slowBuild();
    const stopped = daemon.halt();
    await expect(slowBuild().ended).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('shutting down'),
    });
    build.finish('');
    await stopped;
  });
  test('ends streams that have no end, and lets the root go', async () => {
    const events = await new Promise<IncomingMessage>((resolve, reject) => {
      get({ socketPath: daemon.socket, path: '/events', agent: false }, resolve).on('error', reject);
    });
    events.on('error', () => {});
    const ended = new Promise((resolve) => events.once('close', resolve));
    events.resume();
    await daemon.halt();
    await ended;
    await daemon.start();
    expect((await daemon.ask('GET', '/healthz')).status).toBe(200);
  });
});

test('health says when it is going down', async () => {
  const build = slowBuild();
  const stopped = daemon.halt();
  expect(host.health()).toEqual({ ok: false, reason: 'shutting down' });
  build.finish('');
  await stopped;
});
