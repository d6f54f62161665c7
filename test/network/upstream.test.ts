/** The proxy of a step that asks by another proxy, as in a company's network. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request as httpRequest, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { listenOn } from '../../src/linux/network-namespace.ts';
import { closeFd } from '../../src/linux/open-in.ts';
import { Authority } from '../../src/network/proxy/authority.ts';
import { Capture } from '../../src/network/proxy/capture.ts';
import { StepProxy } from '../../src/network/proxy/proxy.ts';
import { isExempt, upstreamFor } from '../../src/network/proxy/upstream.ts';
import { makeCerts } from '../kit/certs.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-upstream-'));
let authority: Authority;
let trusted: string;
let server: TlsServer;
let company: Server;
let port: number;
let companyPort: number;
/** What the company's proxy was asked for. */
const asked: string[] = [];

beforeAll(async () => {
  authority = await Authority.create();
  const certs = makeCerts(dir);
  trusted = readFileSync(certs.ca, 'utf8');
  const { cert, key } = certs.issue('far.example', 'DNS:far.example');
  server = createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) =>
    response.end(`content of ${request.url}`),
  );
  // It knows a server by a name that nobody else knows, and lets in one user.
  company = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    if (!isKnown(request.headers)) return void response.writeHead(407).end();
    response.end(`plain content of ${request.url}`);
  });
  company.on('connect', (request, socket: Socket) => {
    asked.push(`CONNECT ${request.url}`);
    if (!isKnown(request.headers))
      return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    const far = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      far.pipe(socket).pipe(far);
    });
    for (const each of [far, socket]) each.on('error', () => {});
  });
  for (const each of [server, company])
    await new Promise<void>((resolve) => each.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
  companyPort = (company.address() as AddressInfo).port;
});
beforeEach(() => {
  asked.length = 0;
});
afterAll(() => {
  for (const each of [server, company]) {
    each.closeAllConnections();
    each.close();
  }
  rmSync(dir, { recursive: true, force: true });
});

function isKnown(headers: NodeJS.Dict<string | string[]>): boolean {
  return headers['proxy-authorization'] === `Basic ${Buffer.from('ann:word').toString('base64')}`;
}

/** Asks for URLs as a step would, one after the other. `own` and `builder`: their variables. */
async function ask(
  urls: readonly string[],
  { own = {}, builder = {}, isHost = false }: { own?: object; builder?: object; isHost?: boolean },
) {
  const at = 20_000 + Math.floor(Math.random() * 20_000);
  const { udp, tcp } = listenOn('127.0.0.1', at);
  closeFd(udp);
  const capture = new Capture();
  const proxy = new StepProxy(tcp, {
    authority,
    capture,
    gate: { isHost, denied: [], hosts: [{ host: 'listed.example', ip: '203.0.113.9' }], isStep: () => false },
    trusted: [trusted],
    check: async (url) => url,
    upstream: (url) => upstreamFor(url, { ...own }, { ...builder }),
  });
  const answers: { status: number; body: string }[] = [];
  try {
    for (const each of urls) {
      const { hostname, host, pathname, protocol } = new URL(each);
      if (protocol === 'http:') {
        answers.push(
          await answerOf(httpRequest({ host: '127.0.0.1', port: at, path: each, headers: { host } })),
        );
        continue;
      }
      const tunnel = httpRequest({ host: '127.0.0.1', port: at, method: 'CONNECT', path: host });
      tunnel.end();
      const socket = await new Promise<Socket>((resolve) => tunnel.once('connect', (_, it) => resolve(it)));
      const secure = connectTls({ socket, servername: hostname, ca: authority.pem });
      answers.push(
        await answerOf(httpRequest({ createConnection: () => secure, path: pathname, headers: { host } })),
      );
    }
    return { answers, use: capture.use };
  } finally {
    proxy.close();
  }
}

async function answerOf(request: ReturnType<typeof httpRequest>) {
  return new Promise<{ status: number; body: string }>((resolve, reject) => {
    request.once('error', reject);
    request.once('response', async (response) =>
      resolve({ status: response.statusCode ?? 0, body: await text(response) }),
    );
    request.end();
  });
}

const urls = ['https://far.example/file', 'http://far.example/plain'];
const proxyUrl = (user: string) => `http://${user}@127.0.0.1:${companyPort}`;
const variables = (user: string) => ({ HTTP_PROXY: proxyUrl(user), HTTPS_PROXY: proxyUrl(user) });

test('what the builder’s variables name is asked, and what came is noted as without it', async () => {
  const { answers, use } = await ask(urls, { builder: variables('ann:word') });
  expect(answers).toEqual([
    { status: 200, body: 'content of /file' },
    { status: 200, body: 'plain content of http://far.example/plain' },
  ]);
  expect(asked).toEqual(['CONNECT far.example:443', 'GET http://far.example/plain']);
  expect(use.materials.map(({ url }) => url)).toEqual(urls);
  expect(use.incomplete).toEqual([]);
});

test('a proxy that refuses is told, without its password', async () => {
  const { answers, use } = await ask(urls, { builder: variables('ann:wrong-word') });
  expect(answers[0]).toEqual({ status: 502, body: 'the proxy of this network did not connect (407)\n' });
  expect(answers[1]?.status).toBe(407);
  expect(JSON.stringify([answers, use])).not.toMatch(/wrong-word/);
});

test('it is no way to what the step must not reach', async () => {
  const closed = ['http://127.0.0.1/', 'http://localhost/', 'http://[::1]/', 'https://localhost/'];
  const { answers } = await ask(closed, { builder: variables('ann:word') });
  expect(answers.map(({ status }) => status)).toEqual([502, 502, 502, 502]);
  expect(asked).toEqual([]);
});

test('the step’s own proxy goes before, where the step may reach it', async () => {
  const own = variables('ann:word');
  const builder = { HTTP_PROXY: 'http://127.0.0.1:1', HTTPS_PROXY: 'http://127.0.0.1:1' };
  // One on this host's loopback, which it may not.
  for (const name of ['127.0.0.1', 'localhost']) {
    const here = JSON.parse(JSON.stringify(own).replaceAll('127.0.0.1', name));
    const { answers } = await ask(urls, { own: here, builder });
    expect(answers.map(({ status, body }) => [status, body])).toEqual([
      [502, `a step must not reach ${name}\n`],
      [502, `a step must not reach ${name}\n`],
    ]);
  }
  expect(asked).toEqual([]);
  const { answers } = await ask(urls, { own, builder, isHost: true });
  expect(answers.map(({ status }) => status)).toEqual([200, 200]);
});

test('a name of the step’s own hosts is asked directly', async () => {
  const pending = ask(['http://listed.example:1/'], { builder: variables('ann:word') });
  await expect(
    Promise.race([pending, new Promise((resolve) => setTimeout(resolve, 300, 'at it'))]),
  ).resolves.toBeDefined();
  expect(asked).toEqual([]);
});

describe('the variables', () => {
  const find = (url: string, own: object, builder: object = {}) =>
    upstreamFor(new URL(url), { ...own }, { ...builder });

  test('are read in either case, each for its scheme; the step’s go before', () => {
    expect(find('http://a/', {})).toBeUndefined();
    expect(find('http://a/', {}, { http_proxy: 'p:1' })).toEqual({ url: 'http://p:1', isOwn: false });
    expect(find('https://a/', { HTTPS_PROXY: 'https://p' }, { https_proxy: 'http://q' })).toEqual({
      url: 'https://p',
      isOwn: true,
    });
    expect(find('http://a/', { HTTPS_PROXY: 'https://p' }, { HTTP_PROXY: 'http://q' })).toBeUndefined();
  });

  test.each([
    ['http://a.example/', 'a.example', true],
    ['http://b.a.example/', 'a.example', true],
    ['http://ba.example/', 'a.example', false],
    ['http://a.example/', '.a.example', false],
    ['http://b.a.example/', ' x, .A.example', true],
    ['http://b.a.example/', '*.a.example', true],
    ['http://a.example:81/', 'a.example:80', false],
    ['https://a.example/', 'a.example:443', true],
    ['http://10.1.2.3/', '10.0.0.0/8', true],
    ['http://11.1.2.3/', '10.0.0.0/8', false],
    ['http://[fd00::1]:5/', 'fd00::1', true],
    ['http://[fd00::1]:5/', '[fd00::1]:6', false],
    ['http://a/', '*', true],
    ['http://a/', '10.0.0.0/99, ,', false],
  ])('exceptions: %s, %s', (url, list, is) => {
    expect(isExempt(new URL(url), list)).toBe(is);
  });
});
