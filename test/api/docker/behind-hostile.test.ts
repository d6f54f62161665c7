/** `--engine`: what nobody may get by way of the engine, and engines that answer badly. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { tarOf } from '../../kit/images.ts';

/** An engine of which each test says what it answers to a head; undefined: nothing. */
class RawEngine {
  readonly heads: string[] = [];
  answer: (head: string) => string | undefined = ok;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  constructor(path: string) {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#sockets.add(socket);
      let got = '';
      socket.on('error', () => {});
      socket.on('end', () => socket.end());
      socket.on('data', (chunk: Buffer) => {
        got += chunk.toString('latin1');
        for (let end = got.indexOf('\r\n\r\n'); end >= 0; end = got.indexOf('\r\n\r\n')) {
          const head = got.slice(0, end);
          const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
          got = got.slice(end + 4 + length);
          this.heads.push(head);
          const answer = this.answer(head);
          if (answer === 'reset') socket.destroy();
          else if (answer !== undefined) socket.write(answer, 'latin1');
        }
      });
    });
    this.#server.listen(path);
  }
  /** The first lines of requests, but for those about the version. */
  get asked(): string[] {
    return this.heads.map((head) => head.split('\r\n')[0] ?? '').filter((line) => !line.includes('/version'));
  }
  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

const json = (value: unknown, status = '200 OK') => {
  const body = JSON.stringify(value);
  return `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
};
function ok(head: string): string {
  if (head.includes('/version ')) return json({ ApiVersion: '1.41' });
  if (head.includes('/events')) return json({ Type: 'container', Action: 'exec_create: sh -c secret' });
  if (head.includes('/system/df')) return json({ Containers: [{ Id: 'c', Command: 'secret' }], Volumes: [] });
  return json({});
}

const secrets = { reader: 'reader-0123456789-0123456789', writer: 'writer-0123456789-0123456789' };
const dir = mkdtempSync(join(tmpdir(), 'drydock-hostile-'));
let engine: RawEngine;
let daemon: TestDaemon;

beforeAll(async () => {
  const hash = (name: keyof typeof secrets) => ({
    name,
    hash: `sha256:${createHash('sha256').update(secrets[name]).digest('hex')}`,
  });
  const policyFile = join(dir, 'policy.json');
  const policy = {
    rules: [
      { match: { uid: 0 }, scopes: ['*'] },
      { match: { token: 'reader' }, scopes: ['engine:read'] },
      { match: { token: 'writer' }, scopes: ['system:read', 'images:read', 'images:write'] },
    ],
    tokens: [hash('reader'), hash('writer')],
  };
  writeFileSync(policyFile, JSON.stringify(policy), { mode: 0o600 });
  engine = new RawEngine(join(dir, 'engine.sock'));
  daemon = await startTestDaemon({ engine: `unix://${join(dir, 'engine.sock')}`, policyFile });
  await daemon.ask('GET', '/_ping');
});
afterAll(async () => {
  await daemon?.stop();
  engine?.close();
  rmSync(dir, { recursive: true, force: true });
});
beforeEach(() => {
  engine.heads.splice(0);
  engine.answer = ok;
});

const as = (who: keyof typeof secrets) => ({
  headers: { Authorization: `Bearer ${secrets[who]}` },
  to: { socketPath: daemon.socket },
});

/** Sends bytes and returns everything that comes until the daemon ends the connection. */
async function raw(bytes: string): Promise<string> {
  const client = connect(daemon.socket);
  client.write(bytes, 'latin1');
  return text(client);
}

test('who may look at the engine gets none of its swarm’s tokens and keys', async () => {
  for (const path of ['/swarm', '/swarm/', '/v1.41/swarm/unlockkey', '/plugins/privileges?remote=x']) {
    expect((await daemon.ask('GET', path, as('reader'))).status).toBe(403);
  }
  expect(engine.asked).toEqual([]);
  expect((await daemon.ask('GET', '/nodes', as('reader'))).status).toBe(200);
});

test('who may not look at the engine sees nothing of its containers in events and disk usage', async () => {
  const until = Math.floor(Date.now() / 1000);
  for (const path of [`/events?until=${until}`, '/system/df', '/v1.41/system/df']) {
    expect((await daemon.ask('GET', path, as('writer'))).text).not.toContain('secret');
    expect((await daemon.ask('GET', path)).text).toContain(path.includes('events') ? 'secret' : '"Contain');
  }
  expect((await daemon.ask('GET', '/v1.41/system/df')).text).toContain('secret');
});

test('who may only change images here removes none of the engine’s but the very same', async () => {
  const build = () =>
    daemon.ask('POST', '/build?t=database', {
      headers: { 'content-type': 'application/x-tar' },
      body: tarOf({ Dockerfile: 'FROM scratch\nCOPY a /a\n', a: 'A' }),
    });
  await build();
  const { Id } = (await daemon.ask('GET', '/images/database/json')).json<{ Id: string }>();
  let theirs = `sha256:${'a'.repeat(64)}`;
  engine.answer = (head) =>
    head.startsWith('GET /images/') ? json({ Id: theirs }) : head.startsWith('DELETE') ? json([]) : ok(head);
  const removed = () => engine.asked.splice(0).filter((line) => line.startsWith('DELETE'));
  engine.heads.splice(0);
  expect((await daemon.ask('DELETE', '/images/database', as('writer'))).status).toBe(200);
  expect((await daemon.ask('DELETE', '/images/only-there', as('writer'))).status).toBe(404);
  expect(removed()).toEqual([]);
  await build();
  const all = encodeURIComponent('{"dangling":["false"]}');
  expect((await daemon.ask('POST', `/images/prune?filters=${all}`, as('writer'))).text).toContain('database');
  expect(removed()).toEqual([]);
  await build();
  theirs = Id;
  engine.heads.splice(0);
  expect((await daemon.ask('DELETE', '/images/database', as('writer'))).status).toBe(200);
  expect(removed()).toHaveLength(1);
  theirs = 'another';
  engine.heads.splice(0);
  await daemon.ask('DELETE', '/images/only-there');
  expect(removed()).toHaveLength(1);
});

test('an image that is taken over from the engine takes no name from one that is here', async () => {
  const build = (name: string) =>
    daemon.ask('POST', `/build?t=${name}`, {
      headers: { 'content-type': 'application/x-tar' },
      body: tarOf({ Dockerfile: 'FROM scratch\nCOPY a /a\n', a: name }),
    });
  const idOf = async (name: string) =>
    (await daemon.ask('GET', `/images/${name}/json`)).json<{ Id?: string }>().Id;
  await build('ours');
  await build('theirs');
  const [ours, theirs] = [await idOf('ours'), await idOf('theirs')];
  const got = request({ socketPath: daemon.socket, path: `/images/${theirs}/get` }).end();
  const [answer] = (await once(got, 'response')) as [IncomingMessage];
  const archive = (await buffer(answer)).toString('latin1');
  expect((await daemon.ask('DELETE', '/images/theirs')).status).toBe(200);
  engine.heads.splice(0);
  engine.answer = (head) => {
    if (/^GET \/images\/[^ ]*\/get /.test(head))
      return `HTTP/1.1 200 OK\r\nContent-Length: ${archive.length}\r\n\r\n${archive}`;
    if (!/^GET \/images\/(theirs|sha256)/.test(head)) return ok(head);
    return json({ Id: theirs, RepoTags: ['ours:latest', 'theirs:latest'], RootFS: { Layers: [] } });
  };
  const tagged = await daemon.ask('POST', '/images/theirs/tag?repo=kept&tag=1');
  expect([tagged.status, tagged.text]).toEqual([201, '']);
  expect(engine.asked.join()).toContain('/get ');
  engine.answer = ok;
  expect(await idOf('kept:1')).toBe(theirs);
  expect(await idOf('theirs')).toBe(theirs);
  expect(await idOf('ours')).toBe(ours);
});

test('a connection that the engine does not give away ends with its answer: nothing more goes to the engine', async () => {
  engine.answer = (head) =>
    head.includes('/exec/') ? json({ message: 'No such exec' }, '404 Not Found') : ok(head);
  const got = await raw(
    'POST /exec/x/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}' +
      'DELETE /images/x HTTP/1.1\r\nHost: d\r\n\r\n',
  );
  expect(got).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
  expect(got).toMatch(/\r\nConnection: close\r\n/);
  expect(got).toContain('No such exec');
  expect(engine.asked).toEqual(['POST /exec/x/start HTTP/1.1']);
});

test('other requests that ask for HTTP/2 are plain ones, and looking is enough for them', async () => {
  const client = connect(daemon.socket);
  client.write(
    `GET /containers/json HTTP/1.1\r\nHost: d\r\nAuthorization: Bearer ${secrets.reader}\r\n` +
      'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n',
  );
  let got = '';
  client.on('data', (chunk: Buffer) => {
    got += chunk;
  });
  await expect.poll(() => got).toMatch(/^HTTP\/1\.1 200 OK.*\{\}$/s);
  client.write('GET /images/json HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n');
  await once(client, 'close');
  expect(got.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
  // The list of images asks for itself which of them containers use, and for those that the engine has.
  expect(engine.asked[0]).toBe('GET /containers/json HTTP/1.1');
  expect(engine.asked.join()).not.toContain('GET /images/json');
});

const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: d\r\n\r\n';
test.each([
  ['two lengths', 'Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc'],
  ['a length and chunks', 'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['an unknown encoding', 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
  ['chunks that are not last', 'Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
  ['a bare return', 'X: a\rTransfer-Encoding: chunked\r\n\r\n'],
  ['a folded line', 'X: a\r\n Transfer-Encoding: chunked\r\n\r\n'],
  ['a blank before the colon', 'Content-Length : 3\r\n\r\nabc'],
])('a request within another goes nowhere: %s', async (_what, rest) => {
  await raw(`POST /containers/x/kill HTTP/1.1\r\nHost: d\r\n${rest}${smuggled}`);
  expect(engine.asked.join()).not.toContain('smuggled');
});

test('what a body holds stays in the body; the engine is named no other host, and always one', async () => {
  await raw(
    `POST /containers/x/kill HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
  );
  await raw('GET http://elsewhere/containers/json HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n');
  await raw('GET /containers/json HTTP/1.0\r\n\r\n');
  expect(engine.asked).toEqual([
    'POST /containers/x/kill HTTP/1.1',
    'GET /containers/json HTTP/1.1',
    'GET /containers/json HTTP/1.1',
  ]);
  for (const head of engine.heads) expect(head).toMatch(/\r\nhost: /i);
});

test.each([
  ['garbage', () => '\0\xff garbage\r\n\r\n'],
  ['nothing', () => 'reset'],
  ['another protocol, unasked', () => 'HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'],
  ['two lengths', () => 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef'],
  ['an endless head', () => `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(2 << 20)}`],
])('an engine that answers %s is told of with a 503, and images are not hurt', async (what, answer) => {
  engine.answer = answer;
  for (const [method, path] of [
    ['GET', '/containers/json'],
    ['POST', '/commit?container=x'],
  ] as const) {
    const { status, text: said } = await daemon.ask(method, path);
    expect(status).toBe(503);
    expect(said).toContain('the Docker engine at');
  }
  const exec =
    'POST /exec/x/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}';
  if (!/protocol|lengths/.test(what)) expect(await raw(exec)).toMatch(/^HTTP\/1\.1 503 /);
  for (const path of ['/_ping', '/info', '/system/df', '/images/json']) {
    expect((await daemon.ask('GET', path)).status).toBe(200);
  }
});

test('an engine that hangs delays the first request a little, and no other', async () => {
  const silent = new RawEngine(join(dir, 'silent.sock'));
  silent.answer = () => undefined;
  const front = await startTestDaemon({ engine: `unix://${join(dir, 'silent.sock')}` });
  try {
    const took = async () => {
      const began = performance.now();
      expect((await front.ask('GET', '/_ping')).status).toBe(200);
      return performance.now() - began;
    };
    expect(await took()).toBeLessThan(8000);
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => setTimeout(resolve, 1100));
      expect(await took()).toBeLessThan(1500);
    }
    const began = performance.now();
    for (const path of ['/version', '/info']) expect((await front.ask('GET', path)).status).toBe(200);
    expect(performance.now() - began).toBeLessThan(20_000);
    const client = connect(front.socket);
    client.write('GET /containers/json HTTP/1.1\r\nHost: d\r\n\r\n');
    await expect.poll(() => silent.asked).toContain('GET /containers/json HTTP/1.1');
    client.destroy();
    await once(client, 'close');
  } finally {
    await front.stop();
    silent.close();
  }
});
