/** What those see who watch a daemon, and what it notices by itself: health, numbers, renewed certificates. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ApiHost } from '../../src/api/shared/host.ts';
import { watchCertificates } from '../../src/daemon/certificate-watch.ts';
import { debugAccess, openWatchedListener, type WatchedListener } from '../../src/daemon/watched-listener.ts';
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

describe('the pages of buildkitd’s debug address', () => {
  const host = { health: () => ({ ok: true }) as const, metrics: async () => '' };
  const open = async (kind: 'bridge' | 'host') =>
    openWatchedListener(
      '127.0.0.1:0',
      host,
      () => false,
      debugAccess({ look: async () => ({ kind, hostAddress: '127.0.0.1', subnets: [] }) }),
    );
  test('numbers, profiles of V8’s, and what there is instead of the rest', async () => {
    const { url, close } = await open('bridge');
    const get = (path: string) => fetch(`${url}/debug/${path}`);
    const vars = (await (await get('vars')).json()) as { memstats: { Sys: number } };
    expect(vars.memstats.Sys).toBeGreaterThan(1 << 20);
    expect(await (await get('pprof/')).text()).toContain('/debug/pprof/profile');
    expect((await (await get('pprof/cmdline')).text()).split('\0')).toEqual(process.argv);
    const busy = setInterval(() => {
      for (const until = performance.now() + 5; performance.now() < until; );
    }, 10);
    const [first, second] = await Promise.all([
      get('pprof/profile?seconds=0.5'),
      get('pprof/heap?seconds=1'),
    ]);
    clearInterval(busy);
    expect([first.status, second.status].sort()).toEqual([200, 409]);
    const made = first.status === 200 ? first : await get('pprof/profile?seconds=0.5');
    expect(made.headers.get('content-disposition')).toContain('.cpuprofile');
    const profile = (await made.json()) as { nodes: object[]; samples: number[] };
    expect(profile.samples.length).toBeGreaterThan(10);
    const heap = await get('pprof/heap?seconds=0.1');
    expect(await heap.json()).toHaveProperty('head.callFrame');
    expect((await get('gc')).status).toBe(200);
    expect((await get('pprof/profile?seconds=1000')).status).toBe(400);
    const missing = await get('pprof/goroutine');
    expect([missing.status, await missing.text()]).toEqual([
      404,
      expect.stringContaining('/debug/pprof/heap'),
    ]);
    close();
  });
  test('are not shown where steps share the network, nor to other machines', async () => {
    const { url, close } = await open('host');
    expect((await fetch(`${url}/debug/vars`)).status).toBe(403);
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    close();
    const bridge = { look: async () => ({ kind: 'bridge', hostAddress: '', subnets: [] }) as const };
    const access = debugAccess(bridge as unknown as Parameters<typeof debugAccess>[0]);
    expect(await access.refuses('192.0.2.9')).toContain('ask 127.0.0.1');
    for (const own of ['127.0.0.1', '::1', '::ffff:127.0.0.1'])
      expect(await access.refuses(own)).toBeUndefined();
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
