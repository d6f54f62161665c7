/** containerd goes away in the middle of a build that came over the API, for a moment or for good. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ApiBuilds, shellContext } from '../../../kit/api-builds.ts';
import { startServer, type TestServer } from '../../../kit/http-server.ts';
import { type OneStore, onContainerd } from '../../../kit/stores.ts';

onContainerd('a containerd that goes away', (store: OneStore) => {
  let server: TestServer;
  /** Resolves when the build asks for a file in its middle; the file comes once `go` is called. */
  let asked: PromiseWithResolvers<void>;
  let go: PromiseWithResolvers<void>;
  const context = () =>
    shellContext(`RUN echo before > /before\nADD http://${server.host}/wait /f\nRUN cat /f > /after`, {}, [
      'cat',
    ]);
  beforeEach(async () => {
    asked = Promise.withResolvers();
    go = Promise.withResolvers();
    server = await startServer(async (_, response) => {
      asked.resolve();
      await go.promise;
      response.end('waited for');
    });
  });
  afterEach(() => server.stop());

  test('for a moment: the build goes on', async () => {
    const builds = await ApiBuilds.open(store);
    try {
      const building = builds.ok(context(), 't=app:1');
      await asked.promise;
      await store.containerd().kill();
      go.resolve();
      await store.containerd().start();
      await building;
      expect(await builds.leftBehind()).toEqual([]);
      expect(builds.ctr('run', '--rm', 'docker.io/library/app:1', 'one', 'cat', '/after')).toBe('waited for');
    } finally {
      await builds.stop();
    }
  });

  test('for good: the client reads the step, which containerd, and what to do; when it is back, the daemon builds', async () => {
    const builds = await ApiBuilds.open(store, { containerdPatience: 300 });
    try {
      const building = builds.error(context(), 't=half:1');
      await asked.promise;
      await store.containerd().kill();
      go.resolve();
      const error = await building;
      // Whatever step was at it first.
      expect(error).toMatch(/^failed to build: \[\d\/4\] (COPY rootfs|RUN echo|ADD http:)/);
      expect(error).toContain(`containerd at ${store.containerd().address}`);
      expect(error).toMatch(/\(Dockerfile:[234]\)/);
      expect(error).toContain('at hop: store');
      expect(error).toMatch(/hint: .*systemctl/);
      // While it is away, each request says so.
      const images = await builds.daemon.ask('GET', '/images/json');
      expect(images.status).toBe(503);
      expect(images.json().message).toContain(`containerd at ${store.containerd().address}`);
      expect(await builds.error('FROM scratch\nLABEL a=b\n')).toMatch(
        /containerd at [\s\S]*at hop: store\nhint: .*systemctl/,
      );
      expect((await builds.daemon.ask('GET', '/_ping')).status).toBe(200);

      await store.containerd().start();
      expect(await builds.tags()).not.toContain('half:1');
      await builds.ok(context(), 't=app:1');
      // What a step could not remove while containerd was away goes with the leases of its time.
      await expect.poll(() => builds.leftBehind()).toEqual([]);
      expect(builds.ctr('images', 'check')).toMatch(/app:1 .* complete/);
    } finally {
      await builds.stop();
    }
  });
});
