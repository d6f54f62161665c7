/** What those see who watch a daemon, and what it notices by itself: health, numbers, renewed certificates. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ApiHost } from '../../src/api/shared/host.ts';
import { watchCertificates } from '../../src/daemon/certificate-watch.ts';
import { openWatchedListener, type WatchedListener } from '../../src/daemon/watched-listener.ts';
import { startTestDaemon } from '../kit/daemon.ts';

describe('the listener for watchers', () => {
  let health: ReturnType<ApiHost['health']>;
  let listener: WatchedListener;
  beforeEach(async () => {
    health = { ok: true };
    const host = { health: () => health, metrics: async () => 'drydock_builds_running 2\n' };
    listener = await openWatchedListener('127.0.0.1:0', host, () => false);
  });
  afterEach(() => listener.close());
  const get = async (path: string, method = 'GET') => {
    const response = await fetch(`${listener.url}${path}`, { method });
    return [response.status, await response.text()];
  };

  test('health and numbers, and nothing else', async () => {
    expect(await get('/metrics')).toEqual([200, 'drydock_builds_running 2\n']);
    for (const path of ['/healthz', '/readyz', '/livez']) expect(await get(path)).toEqual([200, 'ok\n']);
    for (const path of ['/', '/info', '/images/json', '/build']) expect((await get(path))[0]).toBe(404);
    expect((await get('/metrics', 'POST'))[0]).toBe(405);
  });
  test('a daemon that stops is alive, and not ready', async () => {
    health = { ok: false, reason: 'shutting down' };
    expect(await get('/readyz')).toEqual([503, 'shutting down\n']);
    expect(await get('/healthz')).toEqual([503, 'shutting down\n']);
    expect(await get('/livez')).toEqual([200, 'ok\n']);
  });
  test('an address that is none, or taken', async () => {
    const open = (address: string) =>
      openWatchedListener(address, { health: () => health, metrics: async () => '' }, () => false);
    for (const bad of ['', 'localhost', '127.0.0.1:70000', 'unix:///x', 'ftp://a:1']) {
      await expect(open(bad)).rejects.toMatchObject({ code: 'invalid' });
    }
    await expect(open(listener.url.slice('http://'.length))).rejects.toMatchObject({ code: 'conflict' });
  });
  test('a step of a build is not answered', async () => {
    const closed = await openWatchedListener(
      '127.0.0.1:0',
      { health: () => health, metrics: async () => '' },
      (peer) => peer === '127.0.0.1',
    );
    await expect(fetch(`${closed.url}/livez`)).rejects.toThrow();
    closed.close();
  });
});

test('it goes on while the daemon drains, and closes with it', async () => {
  let host: ApiHost | undefined;
  const daemon = await startTestDaemon({
    metricsAddress: '127.0.0.1:0',
    grpc(given) {
      host = given;
      return { accept: (socket) => void socket.destroy(), close: async () => {} };
    },
  });
  try {
    const url = /http:\S+/.exec(
      daemon
        .log()
        .map(({ message }) => message)
        .join(' '),
    )?.[0];
    const { promise, resolve } = Promise.withResolvers<void>();
    const build = host?.builds.run({ id: 'slow', owner: 'me' }, new AbortController().signal, () => promise);
    const stopped = daemon.halt();
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^drydock_builds_running 1$/m);
    resolve();
    await build;
    await stopped;
    await expect(fetch(`${url}/livez`)).rejects.toThrow();
  } finally {
    await daemon.stop();
  }
});

test('a certificate that is renewed as Kubernetes does it is noticed', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-watch-'));
  // A mounted secret: names lead through the link `..data` to a folder, and a renewal leads the link to another.
  const put = (name: string) => {
    mkdirSync(join(dir, name));
    for (const file of ['tls.crt', 'tls.key', 'ca.crt']) writeFileSync(join(dir, name, file), name);
    symlinkSync(name, join(dir, '..next'));
    renameSync(join(dir, '..next'), join(dir, '..data'));
  };
  put('..1');
  for (const file of ['tls.crt', 'tls.key', 'ca.crt']) symlinkSync(`..data/${file}`, join(dir, file));
  let changes = 0;
  const [cert, key, ca] = ['tls.crt', 'tls.key', 'ca.crt'].map((file) => join(dir, file)) as [
    string,
    string,
    string,
  ];
  const end = watchCertificates({ cert, key, ca }, () => changes++, 20);
  try {
    put('..2');
    await expect.poll(() => changes).toBe(3);
    // A file that goes away is no renewal.
    rmSync(join(dir, '..2/tls.crt'));
    put('..3');
    await expect.poll(() => changes).toBeGreaterThanOrEqual(5);
  } finally {
    end();
    rmSync(dir, { recursive: true, force: true });
  }
});
