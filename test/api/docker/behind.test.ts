/** `--engine`: what Drydock does not do itself goes to a Docker engine, byte for byte, after the one check at the edge. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { findImage } from '../../../src/distribution/stored.ts';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { tarOf } from '../../kit/images.ts';

/** An engine that notes what it is asked. */
class FakeEngine {
  readonly asked: { method: string; url: string; headers: IncomingMessage['headers']; body: Buffer }[] = [];
  /** Set, it keeps its images in a containerd: those with these IDs. */
  containerd: string[] | undefined;
  /** What it says to the next archive of an image. */
  complaint: string | undefined;
  readonly #server: Server;
  constructor(socket: string) {
    this.#server = createServer({ shouldUpgradeCallback: () => true }, async (request, response) => {
      const { method = '', url = '', headers } = request;
      const body = await buffer(request);
      if (url === '/version')
        return void response.end('{"ApiVersion":"1.41","Components":[{"Name":"Engine"}]}');
      const DriverStatus = this.containerd && [['driver-type', 'io.containerd.snapshotter.v1']];
      if (url === '/info')
        return void response.end(
          JSON.stringify({ Containers: 7, Swarm: { LocalNodeState: 'active' }, DriverStatus }),
        );
      if (url === '/v1.41/system/df')
        return void response.end('{"Containers":[{"Id":"c"}],"Volumes":[{"Name":"v"}]}');
      if (url.startsWith('/events'))
        return void response.end('{"Type":"container","Action":"start"}\n{"Type":"image","Action":"pull"}\n');
      if (method === 'GET' && url.startsWith('/images/')) {
        response.statusCode = url === '/images/json' ? 200 : 404;
        const list = JSON.stringify((this.containerd ?? []).map((Id) => ({ Id })));
        return void response.end(url === '/images/json' ? list : '{"message":"No such image"}');
      }
      this.asked.push({ method, url, headers, body });
      if (url.includes('/used')) response.statusCode = 409;
      response.setHeader('X-Engine', 'yes');
      if (url.startsWith('/images/load') && this.complaint !== undefined) {
        response.end(`${JSON.stringify({ stream: this.complaint })}\n`);
        this.complaint = undefined;
        return;
      }
      response.end(`{"message":"answer to ${method} ${url.split('?')[0]}"}`);
    });
    this.#server.on('upgrade', async (request, socket) => {
      const body = await text(request);
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
      // Says what it got only once the client has ended its half.
      let got = '';
      socket.on('data', (chunk: Buffer) => {
        got += chunk;
      });
      socket.once('end', () => socket.end(`${body}|${got}|bye`));
    });
    this.#server.listen(socket);
  }
  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

const secret = 'secret-of-the-reader-0123456789';
const dir = mkdtempSync(join(tmpdir(), 'drydock-behind-'));
const socket = join(dir, 'engine.sock');
const policy = join(dir, 'policy.json');
let engine: FakeEngine;
let daemon: TestDaemon;

beforeAll(async () => {
  writeFileSync(
    policy,
    JSON.stringify({
      rules: [
        { match: { uid: 0 }, scopes: ['*'] },
        { match: { token: 'reader' }, scopes: ['engine:read'] },
      ],
      tokens: [{ name: 'reader', hash: `sha256:${createHash('sha256').update(secret).digest('hex')}` }],
    }),
    { mode: 0o600 },
  );
  engine = new FakeEngine(socket);
  daemon = await startTestDaemon({ engine: `unix://${socket}`, policyFile: policy });
});
afterAll(async () => {
  await daemon?.stop();
  engine?.close();
  rmSync(dir, { recursive: true, force: true });
});
beforeEach(() => void engine.asked.splice(0));

test('containers, volumes and networks are asked of the engine, with head and body as they came', async () => {
  const answer = await daemon.ask('POST', '/v1.41/containers/x/rename?name=a%20b', {
    headers: { 'X-Registry-Auth': 'abc' },
    body: 'raw',
  });
  expect(answer.status).toBe(200);
  expect(answer.headers['x-engine']).toBe('yes');
  expect(answer.text).toBe('{"message":"answer to POST /v1.41/containers/x/rename"}');
  expect(engine.asked).toHaveLength(1);
  const [{ url, headers, body }] = engine.asked as [FakeEngine['asked'][0]];
  expect(url).toBe('/v1.41/containers/x/rename?name=a%20b');
  expect(headers['x-registry-auth']).toBe('abc');
  expect(body.toString()).toBe('raw');
  expect((await daemon.ask('GET', '/networks')).headers['x-engine']).toBe('yes');
  expect((await daemon.ask('GET', '/images/json')).headers['x-engine']).toBeUndefined();
});

test('a connection that is given away goes both ways, and each side may end its half first', async () => {
  const client = connect({ path: daemon.socket, allowHalfOpen: true });
  const body = '{"Tty":false}';
  client.write(
    `POST /v1.41/exec/x/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await once(client, 'readable');
  client.end('typed');
  const got = await text(client);
  expect(got).toMatch(/^HTTP\/1\.1 101 UPGRADED\r\n/);
  expect(got).toMatch(/\{"Tty":false\}\|typed\|bye$/);
});

test('the newest API version is one that both speak; info, version, df and events show both as one', async () => {
  expect((await daemon.ask('GET', '/_ping')).headers['api-version']).toBe('1.41');
  const version = (await daemon.ask('GET', '/version')).json<{
    ApiVersion: string;
    Components: { Name: string }[];
  }>();
  expect(version.ApiVersion).toBe('1.41');
  expect(version.Components.map(({ Name }) => Name)).toEqual(['Engine', 'Docker Engine (behind)']);
  const info = (await daemon.ask('GET', '/info')).json<{
    Containers: number;
    Images: number;
    Warnings: string[];
  }>();
  expect(info).toMatchObject({ Containers: 7, Images: 0, Swarm: { LocalNodeState: 'active' } });
  expect(info.Warnings.join()).not.toContain('does not run containers');
  expect((await daemon.ask('GET', '/v1.41/system/df')).json()).toMatchObject({
    Containers: [{ Id: 'c' }],
    Volumes: [{ Name: 'v' }],
    Images: [],
  });
  const events = await daemon.ask('GET', `/events?until=${Math.floor(Date.now() / 1000) + 1}`);
  expect(events.lines().map(({ Type }) => Type)).toEqual(['container']);
});

test('an image that a container asks for is handed over first, and the request follows as it came', async () => {
  await daemon.ask('POST', '/build?t=app', {
    headers: { 'content-type': 'application/x-tar' },
    body: tarOf({ Dockerfile: 'FROM scratch\nCOPY a /a\n', a: 'A' }),
  });
  const body = '{ "Image":"app",  "HostConfig":{"Memory":12345678901234567890} }';
  const created = await daemon.ask('POST', '/v1.41/containers/create?name=c', {
    headers: { 'content-type': 'application/json' },
    body,
  });
  expect(created.text).toBe('{"message":"answer to POST /v1.41/containers/create"}');
  expect(engine.asked.map(({ method, url }) => `${method} ${url}`)).toEqual([
    'POST /images/load?quiet=1',
    'POST /v1.41/containers/create?name=c',
  ]);
  expect(engine.asked[0]?.body.includes('manifest.json')).toBe(true);
  expect(engine.asked[1]?.body.toString()).toBe(body);
  await daemon.ask('POST', '/containers/create', { body: '{"Image":"elsewhere"}' });
  expect(engine.asked.at(-2)?.url).toBe('/v1.41/containers/create?name=c');
});

test('an engine on a containerd is not sent the blobs of images that both have, but all when it lacks one', async () => {
  const build = (name: string, Dockerfile: string) =>
    daemon.ask('POST', `/build?t=${name}`, {
      headers: { 'content-type': 'application/x-tar' },
      body: tarOf({ Dockerfile, a: 'known', b: 'more' }),
    });
  await build('known', 'FROM scratch\nCOPY a /a\n');
  await build('more', 'FROM known\nCOPY b /b\n');
  const { image } = await findImage(daemon.engine.store, 'known');
  engine.containerd = [image.manifest.digest];
  try {
    const [layer] = image.document.layers;
    // As a file of the archive; the manifest names it in any case.
    const sent = () =>
      engine.asked
        .splice(0)
        .filter(({ url }) => url.startsWith('/images/load'))
        .map(({ body }) => body.includes(`blobs/sha256/${layer?.digest.slice(7)}\0`));
    const create = () => daemon.ask('POST', '/containers/create', { body: '{"Image":"more"}' });
    expect((await create()).status).toBe(200);
    expect(sent()).toEqual([false]);
    engine.complaint = 'Error unpacking image more:latest: NotFound: content digest';
    expect((await create()).status).toBe(200);
    expect(sent()).toEqual([false, true]);
    engine.containerd = [];
    engine.complaint = 'Error unpacking image more:latest: no space left';
    const refused = await create();
    expect(refused.text).toContain('does not take the image more: ');
    expect(refused.text).toContain('no space left');
  } finally {
    engine.containerd = undefined;
  }
});

test('an image that a container there uses stays here', async () => {
  await daemon.ask('POST', '/build?t=used', {
    headers: { 'content-type': 'application/x-tar' },
    body: tarOf({ Dockerfile: 'FROM scratch\nCOPY a /u\n', a: 'U' }),
  });
  const answer = await daemon.ask('DELETE', '/images/used');
  expect(answer.status).toBe(409);
  expect((await daemon.ask('GET', '/images/used/json')).status).toBe(200);
});

test('who may only look does not run; nobody gets around the way of the images', async () => {
  const to = { socketPath: daemon.socket };
  const headers = { Authorization: `Bearer ${secret}` };
  expect((await daemon.ask('GET', '/containers/json', { headers, to })).status).toBe(200);
  expect(engine.asked.at(-1)?.headers.authorization).toBeUndefined();
  const refused = await daemon.ask('POST', '/containers/create', { headers, to, body: '{}' });
  expect(refused.status).toBe(403);
  expect(refused.text).toContain('engine:write');
  const client = connect(daemon.socket);
  client.write(
    'POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: Upgrade, close\r\nUpgrade: tcp\r\nContent-Length: 3\r\n\r\nbad',
  );
  expect(await text(client)).toMatch(/^HTTP\/1\.1 400 /);
  expect((await daemon.ask('GET', '/containers/..%2fimages/json')).status).toBe(404);
});

test('an engine that is not there is told by its address; without the setting a 501 names it', async () => {
  const alone = await startTestDaemon({ engine: `unix://${join(dir, 'none.sock')}` });
  try {
    const answer = await alone.ask('GET', '/containers/json');
    expect(answer.status).toBe(503);
    expect(answer.text).toContain(
      `the Docker engine at unix://${join(dir, 'none.sock')} cannot be reached (ENOENT)`,
    );
    expect((await alone.ask('GET', '/info')).json<{ Warnings: string[] }>().Warnings.join()).toContain(
      'cannot be reached',
    );
    expect((await alone.ask('GET', '/_ping')).status).toBe(200);
  } finally {
    await alone.stop();
  }
  const without = await startTestDaemon();
  try {
    const answer = await without.ask('POST', '/containers/create', { body: '{}' });
    expect(answer.status).toBe(501);
    expect(answer.text).toContain('--engine unix:///var/run/docker.sock');
  } finally {
    await without.stop();
  }
  await expect(startTestDaemon({ engine: 'ssh://host' })).rejects.toThrow(
    'want unix:///PATH or tcp://HOST:PORT',
  );
});
