/** The client's secrets, ssh agents, uploads and registry accounts. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createSocketServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/client.ts';
import { SessionManager } from '../../src/session/manager.ts';
import { join } from '../kit/session/duplex-pair.ts';
import { Status } from '../kit/session/grpc-server.ts';
import { SessionClient, type SessionClientOptions } from '../kit/session/session-client.ts';

let manager: SessionManager;
let dir: string;
const open: { close(): unknown }[] = [];
let logged = '';
beforeEach(() => {
  logged = '';
  manager = new SessionManager({ log: (...line) => (logged += JSON.stringify(line)) });
  dir = mkdtempSync(joinPath(tmpdir(), 'drydock-services-'));
});
afterEach(() => {
  for (const thing of open.splice(0)) thing.close();
  manager.close();
  rmSync(dir, { recursive: true, force: true });
});

const connect = (options: SessionClientOptions) => {
  const client = new SessionClient(options);
  open.push(client);
  return { client, session: join(manager, client) };
};

test('a secret is bytes of up to 500 KiB; one that the client lacks is undefined', async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  const { session } = connect({ secrets: { bytes, empty: '', large: Buffer.alloc(500 * 1024 + 1) } });
  expect(await session.secret('bytes')).toEqual(bytes);
  expect(await session.secret('empty')).toEqual(Buffer.alloc(0));
  expect(await session.secret('none')).toBeUndefined();
  await expect(session.secret('large')).rejects.toMatchObject({ code: 'invalid', hop: 'session' });
});

test('what a client says when it cannot read a secret is told, without control characters', async () => {
  const { session } = connect({
    handlers: {
      '/moby.buildkit.secrets.v1.Secrets/GetSecret': async () => {
        throw new Status(7, 'open \u001b[31m/home/me/token: permission denied');
      },
    },
  });
  await expect(session.secret('token')).rejects.toMatchObject({
    code: 'denied',
    hop: 'session',
    message: 'asking the client for secret token: it answered: open [31m/home/me/token: permission denied',
  });
});

test('an ssh agent is reached through the session, by many connections at once', async () => {
  const socket = joinPath(dir, 'agent.sock');
  const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
  open.push({ close: () => agent.kill() });
  const key = joinPath(dir, 'key');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test@drydock', '-f', key]);
  for (let tries = 0; ; tries++) {
    try {
      execFileSync('ssh-add', ['-q', key], {
        env: { ...process.env, SSH_AUTH_SOCK: socket },
        stdio: 'ignore',
      });
      break;
    } catch (err) {
      if (tries === 50) throw err;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  const { session } = connect({ ssh: { default: socket } });
  await expect(session.ssh('other')).rejects.toMatchObject({
    code: 'not-found',
    message: 'unset ssh forward key other',
  });
  const dial = await session.ssh('default');
  const forwarded = joinPath(dir, 'forwarded.sock');
  const server = createSocketServer(async (step) => {
    const stream = await dial!();
    step.pipe(stream).pipe(step);
    for (const end of [step, stream]) end.on('error', () => {});
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(forwarded, resolve));
  const list = () =>
    new Promise<string>((resolve) => {
      const child = spawn('ssh-add', ['-l'], { env: { ...process.env, SSH_AUTH_SOCK: forwarded } });
      void text(child.stdout).then(resolve);
    });
  const answers = await Promise.all([list(), list(), list()]);
  expect(answers.every((answer) => answer.includes('test@drydock (ED25519)'))).toBe(true);
});

test('an upload streams from the client, once', async () => {
  const big = Buffer.alloc(3_000_000, 'abc');
  const { client, session } = connect({ uploads: { '/u1': Readable.from([big]) } });
  const stream = await session.upload('u1');
  expect(Buffer.concat(await stream!.toArray())).toEqual(big);
  expect(client.calls[0]?.headers).toMatchObject({ urlpath: '/u1', urlhost: 'buildkit-session' });
  const again = await session.upload('u1');
  await expect(again!.toArray()).rejects.toMatchObject({
    hop: 'session',
    message: expect.stringContaining('asking the client for the upload u1: it answered: no http response'),
  });
});

test('an upload whose client dies fails with the session’s error', async () => {
  const endless = new Readable({
    read() {
      this.push(Buffer.alloc(64 * 1024));
    },
  });
  const { client, session } = connect({ uploads: { '/u1': endless } });
  const stream = await session.upload('u1');
  const reading = (async () => {
    let bytes = 0;
    for await (const chunk of stream!) {
      bytes += chunk.length;
      if (bytes > 1 << 20) client.close();
    }
  })();
  await expect(reading).rejects.toMatchObject({ code: 'unavailable', hop: 'session' });
  endless.destroy();
});

test('name and password of a registry; Docker Hub is asked for as BuildKit does', async () => {
  const { session } = connect({
    accounts: {
      'reg.example': { username: 'me', secret: 'pw' },
      'registry-1.docker.io': { username: 'hub', secret: 'hub pw' },
      'token.example': { username: '', secret: 'identity token' },
    },
  });
  expect(await session.credentials('reg.example')).toEqual({ username: 'me', password: 'pw' });
  expect(await session.credentials('https://index.docker.io/v1/')).toEqual({
    username: 'hub',
    password: 'hub pw',
  });
  expect(await session.credentials('token.example')).toEqual({ identityToken: 'identity token' });
  expect(await session.credentials('other.example')).toBeUndefined();
});

test('a client whose credential helper fails says so', async () => {
  const { session } = connect({
    handlers: {
      '/moby.filesync.v1.Auth/Credentials': async () => {
        throw new Error('error getting credentials - err: exit status 1');
      },
    },
  });
  await expect(session.credentials('reg.example')).rejects.toMatchObject({
    code: 'unauthenticated',
    hop: 'session',
    message: expect.stringContaining('credentials for reg.example: it answered: error getting credentials'),
    hint: expect.stringContaining('docker login'),
  });
});

test('a client that is gone has no credentials, and says why there are none', async () => {
  const { client, session } = connect({ accounts: {} });
  client.close();
  await new Promise((resolve) => session.closed.addEventListener('abort', resolve));
  expect(await session.credentials('reg.example')).toEqual({
    absent: expect.stringContaining(`its session ${client.id} is gone`),
  });
});

/** A registry with one manifest that wants a token for it; it tells which tokens it was shown. */
async function tokenRegistry(): Promise<{ host: string; shown: string[]; server: Server }> {
  const shown: string[] = [];
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: type,
    config: { mediaType: 'x', digest: `sha256:${'0'.repeat(64)}`, size: 1 },
    layers: [],
  });
  const server = createServer((request, response) => {
    const { authorization = '' } = request.headers;
    if (!/^Bearer good/.test(authorization)) {
      response.writeHead(401, {
        'www-authenticate':
          'Bearer realm="https://auth.invalid/token",service="reg",scope="repository:app:pull"',
      });
      response.end();
      return;
    }
    if (request.url?.includes('manifests')) shown.push(authorization);
    response.writeHead(200, { 'content-type': type });
    response.end(manifest);
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, shown, server };
}
const type = 'application/vnd.oci.image.manifest.v1+json';

test('a client that offers to gets tokens itself: its password stays with it', async () => {
  const { host, shown } = await tokenRegistry();
  const asked: unknown[] = [];
  const { client, session } = connect({
    accounts: { [host]: { username: 'me', secret: 'never sent' } },
    tokens: ({ ClientID, Host, Realm, Service, Scopes }) => {
      asked.push({ ClientID, Host, Realm, Service, Scopes });
      return { token: 'good1', expiresIn: 300 };
    },
  });
  const registry = new RegistryClient({ userAgent: 'drydock/test', retries: 0 });
  open.push(registry);
  const credentials = (name: string) => session.credentials(name);
  await registry.manifest(`${host}/app:1`, { credentials });
  await registry.manifest(`${host}/app:2`, { credentials });
  expect(asked).toEqual([
    {
      ClientID: 'buildkit-client',
      Host: host,
      Realm: 'https://auth.invalid/token',
      Service: 'reg',
      Scopes: ['repository:app:pull'],
    },
  ]);
  expect(shown).toEqual(['Bearer good1', 'Bearer good1']);
  expect(client.calls.some(({ method }) => method.endsWith('/Credentials'))).toBe(false);
  expect(logged).not.toContain('good1');
});

test('builds of one account share a token; another account’s builds get their own', async () => {
  const { host, shown } = await tokenRegistry();
  const registry = new RegistryClient({ userAgent: 'drydock/test', retries: 0 });
  open.push(registry);
  let made = 0;
  const pull = async (accountSeed: Buffer) => {
    const { session } = connect({ tokens: () => ({ token: `good${++made}` }), accountSeed });
    await registry.manifest(`${host}/app:1`, { credentials: (name) => session.credentials(name) });
  };
  await pull(Buffer.alloc(32, 1));
  await pull(Buffer.alloc(32, 1));
  await pull(Buffer.alloc(32, 2));
  expect(shown).toEqual(['Bearer good1', 'Bearer good1', 'Bearer good2']);
});

test('a client that names another’s account without its key does not get that one’s token', async () => {
  const { host, shown } = await tokenRegistry();
  const registry = new RegistryClient({ userAgent: 'drydock/test', retries: 0 });
  open.push(registry);
  const owner = connect({ tokens: () => ({ token: 'good-owner' }), accountSeed: Buffer.alloc(32, 1) });
  await registry.manifest(`${host}/app:1`, { credentials: (name) => owner.session.credentials(name) });
  const thief = connect({
    tokens: () => ({ token: 'good-thief' }),
    accountSeed: Buffer.alloc(32, 1),
    handlers: {
      '/moby.filesync.v1.Auth/VerifyTokenAuthority': async (call) => {
        for await (const _ of call.messages) {
          await call.send(Buffer.concat([Buffer.from([0x0a, 96]), Buffer.alloc(96, 7)]));
          return;
        }
      },
    },
  });
  await registry.manifest(`${host}/app:1`, { credentials: (name) => thief.session.credentials(name) });
  expect(shown).toEqual(['Bearer good-owner', 'Bearer good-thief']);
});

test('what keeps a client from getting a token is the pull’s error', async () => {
  const { host } = await tokenRegistry();
  const { session } = connect({
    tokens: () => {
      throw new Status(2, 'failed to fetch oauth token: unexpected status: 401 Unauthorized');
    },
  });
  const registry = new RegistryClient({ userAgent: 'drydock/test', retries: 0 });
  open.push(registry);
  await expect(
    registry.manifest(`${host}/app:1`, { credentials: (name) => session.credentials(name) }),
  ).rejects.toMatchObject({
    code: 'unauthenticated',
    hop: 'session',
    message: expect.stringMatching(/resolving .*app:1.*could not get a token.*401 Unauthorized/),
    hint: expect.stringContaining('docker login'),
  });
});

test('a client that never answers does not hold up a pull that is given up', async () => {
  const { host } = await tokenRegistry();
  const asked = Promise.withResolvers<void>();
  const { session } = connect({
    handlers: {
      '/moby.filesync.v1.Auth/Credentials': async ({ stream }) => {
        asked.resolve();
        await new Promise((resolve) => stream.once('close', resolve));
      },
    },
  });
  const registry = new RegistryClient({ userAgent: 'drydock/test', retries: 0 });
  open.push(registry);
  const stop = new AbortController();
  const credentials = (name: string) => session.credentials(name);
  const pulling = registry.manifest(`${host}/app:1`, { credentials, signal: stop.signal });
  await asked.promise;
  stop.abort();
  await expect(pulling).rejects.toMatchObject({ code: 'canceled' });
});

test('a registry that wants credentials of a client that is gone is told of with the reason', async () => {
  const { host } = await tokenRegistry();
  const registry = new RegistryClient({ userAgent: 'drydock/test', retries: 0 });
  open.push(registry);
  const server = createServer((_, response) => {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' });
    response.end();
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const basic = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  expect(host).not.toBe(basic);
  await expect(
    registry.manifest(`${basic}/app:1`, { credentials: async () => ({ absent: 'its session x is gone' }) }),
  ).rejects.toMatchObject({
    code: 'unauthenticated',
    hint: 'The client was not asked for credentials: its session x is gone.',
  });
});

test('a registry that wants name and password gets them from a client that also offers tokens', async () => {
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    if (request.url?.includes('manifests')) seen.push(request.headers.authorization);
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' });
      response.end();
      return;
    }
    response.writeHead(404);
    response.end();
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { session } = connect({
    accounts: { [host]: { username: 'me', secret: 'pw' } },
    tokens: () => ({ token: 'unused' }),
  });
  const registry = new RegistryClient({ userAgent: 'drydock/test', retries: 0 });
  open.push(registry);
  await expect(
    registry.manifest(`${host}/app:1`, { credentials: (name) => session.credentials(name) }),
  ).rejects.toMatchObject({ code: 'not-found' });
  expect(seen.at(-1)).toBe(`Basic ${Buffer.from('me:pw').toString('base64')}`);
});

test('secrets and passwords are in no error and in no log', async () => {
  const { client, session } = connect({
    secrets: { token: 'hunter2' },
    accounts: { 'reg.example': { username: 'me', secret: 'hunter3' } },
  });
  expect(String(await session.secret('token'))).toBe('hunter2');
  await session.credentials('reg.example');
  client.close();
  await new Promise((resolve) => session.closed.addEventListener('abort', resolve));
  const err = await session.secret('token').catch((reason) => reason);
  expect(JSON.stringify([err, err.message, err.stack]) + logged).not.toMatch(/hunter/);
  expect(logged).toContain('session closed');
});
