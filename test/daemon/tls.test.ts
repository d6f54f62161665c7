/** HTTP/2 over TLS however it comes: agreed on in the handshake, spoken without a word, or after an upgrade. */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2, constants } from 'node:http2';
import { request } from 'node:https';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { makeCerts } from '../kit/certs.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

let dir: string;
let daemon: TestDaemon;
let tls: { host: string; port: number; ca: Buffer; cert: Buffer; key: Buffer };

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-tls-'));
  const certs = makeCerts(dir);
  const server = certs.issue('server', 'IP:127.0.0.1');
  const me = certs.issue('me');
  const policyFile = join(dir, 'policy.json');
  writeFileSync(policyFile, JSON.stringify({ rules: [{ match: { cert: { cn: 'me' } }, scopes: ['*'] }] }));
  daemon = await startTestDaemon({
    hosts: ['tcp://127.0.0.1:0'],
    tls: { ...server, ca: certs.ca },
    policyFile,
    grpc: (host) => buildkitApi(host),
  });
  const port = Number(daemon.addresses[1]?.split(':').at(-1));
  const [ca, cert, key] = [certs.ca, me.cert, me.key].map((file) => readFileSync(file)) as [
    Buffer,
    Buffer,
    Buffer,
  ];
  tls = { host: '127.0.0.1', port, ca, cert, key };
});
afterAll(async () => {
  await daemon?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** Asks for the daemon's health over gRPC; the call's status. */
async function health(socket: Socket): Promise<string | undefined> {
  const session = connectHttp2('http://localhost', { createConnection: () => socket });
  try {
    const call = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    call.end(Buffer.alloc(5));
    let status: string | undefined;
    call.on('response', (headers) => (status ??= headers['grpc-status'] as string | undefined));
    call.on('trailers', (headers) => (status ??= headers['grpc-status'] as string | undefined));
    call.resume();
    await once(call, 'close');
    return status;
  } finally {
    session.destroy();
  }
}

test.each([
  ['agreed on in the handshake', ['h2']],
  ['with no word about it', undefined],
])('%s', async (_, ALPNProtocols) => {
  const socket = connect({ ...tls, ...(ALPNProtocols && { ALPNProtocols }) });
  await once(socket, 'secureConnect');
  expect(await health(socket)).toBe('0');
});

test('after POST /grpc in HTTP/1.1, as docker buildx does, many times over', async () => {
  for (let i = 0; i < 10; i++) {
    const headers = { host: 'docker', connection: 'Upgrade', upgrade: 'h2c' };
    const sent = request({ ...tls, servername: '', method: 'POST', path: '/grpc', headers, agent: false });
    sent.end();
    const [response, socket] = (await once(sent, 'upgrade')) as [{ statusCode: number }, Socket];
    expect(response.statusCode).toBe(101);
    expect(await health(socket)).toBe('0');
  }
});
