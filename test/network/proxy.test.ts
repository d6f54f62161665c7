/** The proxy of a step over TLS: its certificates, what it notes, what it refuses. test/engine/proxy-network.test.ts has builds. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listenOn } from '../../src/linux/network-namespace.ts';
import { closeFd } from '../../src/linux/open-in.ts';
import { parseSubnet } from '../../src/network/addresses.ts';
import { Authority } from '../../src/network/proxy/authority.ts';
import { Capture } from '../../src/network/proxy/capture.ts';
import { checkAddress } from '../../src/network/proxy/gate.ts';
import { StepProxy } from '../../src/network/proxy/proxy.ts';
import { makeCerts } from '../kit/certs.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-proxy-'));
let authority: Authority;
let server: Server;
let port: number;
let trusted: string;

beforeAll(async () => {
  authority = await Authority.create();
  const certs = makeCerts(dir);
  trusted = readFileSync(certs.ca, 'utf8');
  const { cert, key } = certs.issue('files.example', 'DNS:files.example');
  server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
    if (request.url === '/moved') return void response.writeHead(302, { location: '/file' }).end();
    if (request.url === '/cut') {
      response.writeHead(200, { 'content-length': '100' });
      response.write('half');
      return void setTimeout(() => request.socket.destroy(), 20);
    }
    if (request.url === '/none') return void response.writeHead(404).end('none');
    response.end(`content of ${request.url}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(dir, { recursive: true, force: true });
});

const digest = (content: string) => `sha256:${createHash('sha256').update(content).digest('hex')}`;

/** A proxy on this machine's loopback, and a client that asks by it as a step would. */
async function withProxy<T>(
  options: Partial<ConstructorParameters<typeof StepProxy>[1]>,
  body: (
    ask: (
      url: string,
      init?: { method?: string; headers?: object },
    ) => Promise<{ status: number; body: string }>,
  ) => Promise<T>,
): Promise<{ result: T; use: Capture['use'] }> {
  const own = 20_000 + Math.floor(Math.random() * 20_000);
  const { udp, tcp } = listenOn('127.0.0.1', own);
  closeFd(udp);
  const capture = new Capture();
  const proxy = new StepProxy(tcp, {
    authority,
    capture,
    gate: {
      isHost: true,
      denied: [],
      hosts: [{ host: 'files.example', ip: '127.0.0.1' }],
      isStep: () => false,
    },
    trusted: [trusted],
    check: async (url) => url,
    ...options,
  });
  const ask = async (
    url: string,
    { method = 'GET', headers = {} }: { method?: string; headers?: object } = {},
  ) => {
    const { hostname, host, pathname, protocol } = new URL(url);
    const at = { host: '127.0.0.1', port: own };
    if (protocol === 'http:') {
      return answerOf(httpRequest({ ...at, method, path: url, headers: { ...headers, host } }));
    }
    const tunnel = httpRequest({ ...at, method: 'CONNECT', path: host });
    tunnel.end();
    const socket = await new Promise<Socket>((resolve) =>
      tunnel.once('connect', (_response, it) => resolve(it)),
    );
    // The step trusts the proxy's authority, and nobody else.
    const secure = connect({ socket, servername: hostname, ca: authority.pem });
    return answerOf(
      httpRequest({ createConnection: () => secure, method, path: pathname, headers: { ...headers, host } }),
    );
  };
  try {
    return { result: await body(ask), use: capture.use };
  } finally {
    proxy.close();
  }
}

async function answerOf(request: ReturnType<typeof httpRequest>) {
  return new Promise<{ status: number; body: string }>((resolve, reject) => {
    request.once('error', reject);
    request.once('response', (response) => {
      text(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, body }),
        () => resolve({ status: response.statusCode ?? 0, body: 'cut' }),
      );
    });
    request.end();
  });
}

test('a request over TLS is answered with a certificate of the proxy’s own, and noted with its digest', async () => {
  const at = `https://files.example:${port}`;
  const { result, use } = await withProxy({}, async (ask) => [
    await ask(`${at}/file`),
    await ask(`${at}/moved`),
  ]);
  expect(result).toEqual([
    { status: 200, body: 'content of /file' },
    { status: 302, body: '' },
  ]);
  expect(use).toEqual({
    requests: [
      { method: 'GET', url: `${at}/file`, status: 200 },
      { method: 'GET', url: `${at}/moved`, status: 302 },
    ],
    // What leads to a content has its digest, too.
    materials: ['/file', '/moved'].map((path) => ({
      url: `${at}${path}`,
      digest: digest('content of /file'),
    })),
    incomplete: [],
  });
});

test('what no digest can stand for is noted with the reason', async () => {
  const at = `https://files.example:${port}`;
  const { use } = await withProxy({}, async (ask) => {
    await ask(`${at}/none`);
    await ask(`${at}/cut`);
    await ask(`${at}/form`, { method: 'POST' });
    await ask(`${at}/file`, { headers: { range: 'bytes=0-1' } });
  });
  expect(use.materials).toEqual([]);
  expect(use.incomplete.map(({ url, reason }) => [new URL(url).pathname, reason])).toEqual([
    ['/none', 'unsuccessful_response'],
    ['/cut', 'body_read_failed'],
    ['/form', 'method_not_materializable'],
    ['/file', 'partial_response'],
  ]);
});

test('a server with a certificate of nobody known is not asked', async () => {
  const { result, use } = await withProxy({ trusted: [] }, (ask) =>
    ask(`https://files.example:${port}/file`),
  );
  expect(result.status).toBe(502);
  expect(use.incomplete).toMatchObject([{ reason: 'upstream_error' }]);
});

test('the build’s rules deny a URL, or put another in its place; passwords are not noted', async () => {
  const at = `https://files.example:${port}`;
  const check = async (url: string) => {
    if (url.endsWith('/secret')) throw new Error('denied by the source policy');
    return url.replace('/old', '/new');
  };
  const { result, use } = await withProxy({ check }, async (ask) => [
    await ask(`${at}/secret`),
    await ask(`${at}/old`),
    await ask(`http://ann:hush@127.0.0.1:1/x`),
  ]);
  expect(result.map(({ status, body }) => [status, body.trim()])).toEqual([
    [403, 'denied by the source policy'],
    [200, 'content of /new'],
    [502, expect.any(String)],
  ]);
  expect(JSON.stringify(use)).not.toContain('hush');
});

describe('the gate', () => {
  const own = Object.values(networkInterfaces())
    .flat()
    .find((each) => each?.family === 'IPv4' && !each.internal)?.address as string;
  const gate = {
    isHost: false,
    denied: [parseSubnet('169.254.0.0/16', 'x')],
    hosts: [],
    isStep: (address: string) => address === '10.213.0.2',
  };

  const spelt = own.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  const mapped = `::ffff:${spelt[0]}${spelt[1]}:${spelt[2]}${spelt[3]}`;
  test.each([
    ...['127.0.0.1', '127.9.9.9', '::1', '0.0.0.0', '::', '169.254.169.254', '::ffff:127.0.0.1', own],
    // As a URL's host is written anew.
    ...['::ffff:7f00:1', '::ffff:a9fe:a9fe', '0:0:0:0:0:ffff:127.0.0.1', '::127.0.0.1', '64:ff9b::a9fe:a9fe'],
    ...[mapped, '10.213.0.2'],
  ])('keeps a step from %s', (address) => {
    expect(() => checkAddress(address, gate)).toThrow('must not reach');
    expect(() => checkAddress(address, { ...gate, isHost: true })).not.toThrow();
  });

  test('lets a step ask the host that it was given', () => {
    const hosts = [{ host: 'machine', ip: 'host-gateway' }];
    expect(() => checkAddress(own, { ...gate, hosts })).not.toThrow();
    expect(() => checkAddress('127.0.0.1', { ...gate, hosts })).toThrow('must not reach');
  });

  test('a name that leads to a closed address leads nowhere', async () => {
    const closed = { ...gate, hosts: [{ host: 'sly.example', ip: '127.0.0.1' }] };
    const { result } = await withProxy({ gate: closed }, (ask) => ask('http://sly.example:1/'));
    expect(result).toEqual({ status: 502, body: 'a step must not reach sly.example\n' });
  });
});

test('what is noted of a step is bounded, and says that there was more', () => {
  const capture = new Capture();
  const long = 'x'.repeat(10_000);
  for (let i = 0; i < 3000; i++) {
    const url = `http://files.example/${i}/${long}`;
    capture.request('GET', url, 302, `/to/${i}/${long}`);
    capture.material(url, `sha256:${i}`);
  }
  expect(JSON.stringify(capture.use).length).toBeLessThan(10 << 20);
  expect(capture.use.requests.length).toBeGreaterThan(50);
  expect(capture.use.incomplete).toContainEqual(expect.objectContaining({ reason: 'too_many_requests' }));
});
