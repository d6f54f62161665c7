/** A daemon on each store, and what it says of the other one. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { daemonConfig, parseSettings, settingsFromEnv } from '../../src/daemon/settings.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { Builds } from '../kit/builds.ts';
import { startContainerd, type TestContainerd } from '../kit/containerd.ts';
import { startTestDaemon } from '../kit/daemon.ts';

let containerd: TestContainerd;
const builds = new Builds();
const root = join(builds.dir, 'root');

beforeAll(async () => {
  containerd = await startContainerd({ gc: 'usual' });
});
afterAll(async () => {
  await builds.close();
  await containerd.stop();
});

test('an image that is only in the other store: a 404 that says where it is', async () => {
  // `base` is built into the root's own store.
  await builds.use(await openEngine({ root }));
  const daemon = await startTestDaemon({
    root,
    imageStore: 'containerd',
    containerdAddress: containerd.address,
  });
  try {
    const missing = await daemon.ask('GET', '/v1.43/images/base/json');
    expect(missing.status).toBe(404);
    expect(missing.json().message).toMatch(
      /^No such image: base.*It is in the local store: use --image-store=local.*drydock store migrate --from local --to containerd/,
    );
    const nowhere = await daemon.ask('GET', '/v1.43/images/nowhere/json');
    expect([nowhere.status, nowhere.text]).toEqual([404, expect.not.stringContaining('It is in')]);
    const { code, stderr } = await daemon.docker(['tag', 'base', 'other']);
    expect([code, stderr]).toEqual([1, expect.stringContaining('It is in the local store')]);

    const info = (await daemon.ask('GET', '/v1.43/info')).json();
    expect(info).toMatchObject({
      Driver: 'overlayfs',
      DriverStatus: [['driver-type', 'io.containerd.snapshotter.v1']],
    });
    const ready = daemon.log().find(({ msg, message }) => String(msg ?? message).includes('is ready'));
    expect(ready).toMatchObject({ store: 'containerd', snapshotter: 'overlayfs' });
  } finally {
    await daemon.stop();
  }
});

test('a daemon whose containerd is not there says so and does not start', async () => {
  const start = startTestDaemon({ imageStore: 'containerd', containerdAddress: '/nowhere.sock' });
  await expect(start).rejects.toMatchObject({
    code: 'unavailable',
    hop: 'store',
    message: expect.stringContaining('containerd at /nowhere.sock cannot be reached'),
  });
});

test('the store is a setting like others: flag, variable, file', () => {
  const file = parseSettings('{"image-store": "containerd", "containerd-namespace": "team"}', 'daemon.json');
  const env = settingsFromEnv({ DRYDOCK_CONTAINERD_ADDRESS: '/run/other.sock' });
  expect(daemonConfig([{ 'containerd-namespace': 'mine' }, env, file.settings], '/root')).toMatchObject({
    imageStore: 'containerd',
    containerdAddress: '/run/other.sock',
    containerdNamespace: 'mine',
  });
  expect(() => daemonConfig([{ 'image-store': 'containrd' }], '/root')).toThrow(/invalid image-store/);
});
