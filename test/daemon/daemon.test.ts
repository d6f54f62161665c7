import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startTestDaemon();
});
afterAll(() => daemon.stop());

describe('a running daemon', () => {
  test('answers the real docker CLI', async () => {
    const { code, stdout } = await daemon.docker(['version', '--format', '{{.Server.Platform.Name}}']);
    expect(stdout).toBe('Drydock\n');
    expect(code).toBe(0);
    expect((await daemon.docker(['images'])).code).toBe(0);
    expect((await daemon.docker(['info', '--format', '{{.Driver}}'])).code).toBe(0);
  });

  test('says how it is', async () => {
    expect(await daemon.ask('GET', '/healthz')).toMatchObject({ status: 200, text: 'ok\n' });
    const metrics = await daemon.ask('GET', '/metrics');
    expect(metrics.headers['content-type']).toMatch(/^text\/plain/);
    expect(metrics.text).toMatch(/^drydock_info\{version="[^"]+",store="local",/m);
    expect(metrics.text).toMatch(/^drydock_builds_running 0$/m);
    expect(metrics.text).toMatch(/^drydock_http_requests_total\{method="GET",code="200"\} \d+$/m);
  });
});
