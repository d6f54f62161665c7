/** A client's connection becomes its session: over `POST /session`, and over a stream as `Control/Session` has one. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BytesStream } from '../../src/grpc/bytes-stream.ts';
import { GrpcChannel } from '../../src/grpc/channel.ts';
import { readSessionInfo } from '../../src/session/headers.ts';
import { SessionManager } from '../../src/session/manager.ts';
import { sessionOverCall } from '../../src/session/message-stream.ts';
import { namedSession } from '../../src/session/named-session.ts';
import { isNear } from '../../src/session/near.ts';
import { join } from '../kit/session/duplex-pair.ts';
import { SessionClient, type SessionClientOptions } from '../kit/session/session-client.ts';

let dir: string;
let socketPath: string;
let server: Server;
let manager: SessionManager;
const open: { close(): void }[] = [];
beforeEach(async () => {
  dir = mkdtempSync(joinPath(tmpdir(), 'drydock-session-'));
  socketPath = joinPath(dir, 'api.sock');
  manager = new SessionManager({ helloMs: 300 });
  server = createServer();
  server.on('upgrade', (request, socket, head) => {
    try {
      manager.upgrade(request, socket, head);
    } catch (err) {
      socket.end(`HTTP/1.1 409 Conflict\r\nConnection: close\r\n\r\n${(err as Error).message}`);
    }
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
});
afterEach(() => {
  for (const thing of open.splice(0)) thing.close();
  manager.close();
  server.close();
  rmSync(dir, { recursive: true, force: true });
});

const client = (options: SessionClientOptions = {}) => {
  const made = new SessionClient({ secrets: { token: 's3cret' }, ...options });
  open.push(made);
  return made;
};
const closed = (signal: AbortSignal) =>
  signal.aborted
    ? Promise.resolve()
    : new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

test('a client that posts to /session is asked for its secrets over that very connection', async () => {
  const peer = client();
  await peer.connect(socketPath);
  const session = await manager.find(peer.id, 1000);
  expect(session?.id).toBe(peer.id);
  expect(String(await session?.secret('token'))).toBe('s3cret');
  expect(await session?.secret('other')).toBeUndefined();
  expect(peer.calls.map(({ method }) => method)).toEqual([
    '/moby.buildkit.secrets.v1.Secrets/GetSecret',
    '/moby.buildkit.secrets.v1.Secrets/GetSecret',
  ]);
});

test('the same over a stream of another call', async () => {
  const session = join(manager, client());
  expect(String(await session.secret('token'))).toBe('s3cret');
});

test('the same over the messages of a call, until either side ends it', async () => {
  const stop = new AbortController();
  const calls = createHttp2Server((request, response) => {
    try {
      sessionOverCall(manager, request, response, { signal: stop.signal });
    } catch (err) {
      response.writeHead(200, { 'grpc-status': '3', 'grpc-message': (err as Error).message });
      response.end();
    }
  });
  const [wire, theirs] = duplexPair();
  calls.emit('connection', theirs);
  const channel = new GrpcChannel(wire);
  const call = (headers: IncomingHttpHeaders) =>
    channel.open('/moby.buildkit.v1.Control/Session', { metadata: headers as Record<string, string> });
  const explain = (err: unknown) => err as Error;
  const peer = client();
  const first = await call(peer.headers);
  peer.serve(new BytesStream(first, { explain }));
  const session = await manager.find(peer.id, 1000);
  expect(String(await session?.secret('token'))).toBe('s3cret');
  peer.close();
  await closed(session!.closed);
  expect(manager.size).toBe(0);
  // Ended by the client: nothing more is said to it, not even good-bye.
  const quiet = client();
  const third = await call(quiet.headers);
  quiet.serve(new BytesStream(third, { explain }));
  expect(String(await (await manager.find(quiet.id, 1000))?.secret('token'))).toBe('s3cret');
  await new Promise((resolve) => setTimeout(resolve, 50)); // what is under way has come
  let late = 0;
  third.stream.on('data', (chunk: Buffer) => (late += chunk.length));
  third.stream.end();
  await third.status;
  expect(late).toBe(0);
  // Ended from this side: the call was well.
  const other = client();
  const second = await call(other.headers);
  other.serve(new BytesStream(second, { explain }));
  const again = await manager.find(other.id, 1000);
  expect(String(await again?.secret('token'))).toBe('s3cret');
  stop.abort();
  await second.status;
  await closed(again!.closed);
  // Refused before anything is said.
  await expect((await call({})).status).rejects.toMatchObject({ code: 3 });
  channel.close();
});

test('a client that lists what it serves is not asked for anything else', async () => {
  const peer = client();
  const session = join(manager, peer);
  expect(await session.ssh('default')).toBeUndefined();
  expect(await session.local('context')).toBeUndefined();
  expect(await session.upload('x')).toBeUndefined();
  expect(await session.credentials('reg.example')).toBeUndefined();
  expect(peer.calls).toEqual([]);
});

test('one that lists nothing is asked, and "unimplemented" is taken as no', async () => {
  const peer = client({ listed: false });
  const session = join(manager, peer);
  expect(await session.ssh('default')).toBeUndefined();
  expect(await session.credentials('reg.example')).toBeUndefined();
  expect(String(await session.secret('token'))).toBe('s3cret');
  expect(peer.calls.map(({ method }) => method.split('/').pop())).toEqual([
    'CheckAgent',
    'GetTokenAuthority',
    'Credentials',
    'GetSecret',
  ]);
});

test('a session that is late is waited for', async () => {
  const peer = client();
  const found = manager.find(peer.id, 10_000);
  await peer.connect(socketPath);
  expect((await found)?.id).toBe(peer.id);
  // Clients put a word before an ID to tell their folders' vertices apart.
  expect((await manager.find(`local:${peer.id}`, 0))?.id).toBe(peer.id);
});

test('waiting ends when the time is over, or the build is', async () => {
  expect(await manager.find('nobody', 20)).toBeUndefined();
  const stop = new AbortController();
  const waiting = manager.find('nobody', 60_000, stop.signal);
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'canceled' });
});

test('one that has come and gone is not waited for', async () => {
  const peer = client();
  await peer.connect(socketPath);
  const session = await manager.find(peer.id, 1000);
  peer.close();
  await closed(session!.closed);
  expect(await manager.find(peer.id, 60_000)).toBeUndefined();
  expect(manager.size).toBe(0);
  // Another one may take its ID.
  await client({ id: peer.id }).connect(socketPath);
  expect((await manager.find(peer.id, 1000))?.id).toBe(peer.id);
});

test('a session is for builds of the one who opened it', async () => {
  const peer = client();
  const [ours, theirs] = duplexPair();
  manager.accept(ours, peer.headers, 'peer 1000');
  peer.serve(theirs);
  expect((await manager.find(peer.id, 0, undefined, 'peer 1000'))?.id).toBe(peer.id);
  expect(await manager.find(peer.id, 20, undefined, 'peer 1001')).toBeUndefined();
  // What it sends is kept apart from what others send under the same key.
  const files = client({ dirs: { context: dir }, sharedKey: 'k' });
  expect(await manager.accept(duplexPair()[0], files.headers, 'peer 1000').local('context')).toMatchObject({
    sharedKey: 'peer 1000: key k',
  });
  const stolen = namedSession(manager, peer.id, { owner: 'peer 1001' });
  await expect(stolen.secret('token')).rejects.toMatchObject({ code: 'unavailable', hop: 'session' });
  expect(peer.calls).toEqual([]);
  // An ID is the client's own: another's of the same one is neither refused nor mixed up with it.
  const same = manager.accept(duplexPair()[0], client({ id: peer.id }).headers, 'peer 1002');
  expect(await manager.find(peer.id, 0, undefined, 'peer 1002')).toBe(same);
  expect(await manager.find(peer.id, 0, undefined, 'peer 1000')).not.toBe(same);
  // Also when it comes late.
  const late = client();
  const waiting = manager.find(late.id, 10_000, undefined, 'peer 1001');
  manager.accept(duplexPair()[0], late.headers, 'peer 1000');
  // Nobody learns from the time of an answer that it is there, and one's own is still waited for.
  await new Promise((resolve) => setTimeout(resolve, 20));
  const own = manager.accept(duplexPair()[0], late.headers, 'peer 1001');
  expect(await waiting).toBe(own);
});

test('an ID that is in use is refused, and the session that has it goes on', async () => {
  const first = client({ id: 'one' });
  await first.connect(socketPath);
  await expect(client({ id: 'one' }).connect(socketPath)).rejects.toThrow('session one already exists');
  expect(() => join(manager, client({ id: 'one' }))).toThrow('session one already exists');
  expect(String(await (await manager.find('one', 0))?.secret('token'))).toBe('s3cret');
});

test('a request without an ID, or for another protocol, is refused before it is answered', async () => {
  const ask = (headers: string) =>
    new Promise<string>((resolve) => {
      const socket: Socket = connect(socketPath);
      let text = '';
      socket.on('data', (chunk) => (text += chunk));
      socket.on('close', () => resolve(text));
      socket.write(`POST /session HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n${headers}\r\n\r\n`);
    });
  expect(await ask('Upgrade: h2c')).toContain('the session has no ID');
  expect(await ask('Upgrade: websocket\r\nX-Docker-Expose-Session-Uuid: a')).toContain('not for h2c');
});

test('a session that dies while it is asked says so: the hop, what was asked, what to do', async () => {
  const peer = client({
    handlers: { '/moby.buildkit.secrets.v1.Secrets/GetSecret': async () => peer.close() },
  });
  await peer.connect(socketPath);
  const session = await manager.find(peer.id, 1000);
  await expect(session!.secret('token')).rejects.toMatchObject({
    code: 'unavailable',
    hop: 'session',
    message: expect.stringContaining(`asking the client for secret token: its session ${peer.id} is gone`),
    hint: expect.stringContaining('keep its session open'),
  });
  await closed(session!.closed);
});

test('a connection on which nobody answers is idle: that matters once something is asked', async () => {
  const [ours] = duplexPair();
  const session = manager.accept(ours, client({ id: 'idle', accounts: {} }).headers);
  await expect(session.secret('token')).rejects.toMatchObject({
    hop: 'session',
    message: expect.stringContaining('it does not answer'),
  });
  // It was given its time once. For credentials that is no error: a public image needs none.
  expect(await namedSession(manager, 'idle').credentials('reg.example')).toEqual({
    absent: expect.stringContaining('it does not answer'),
  });
});

test('a client that serves health checks is asked, and let go when it stops answering well', async () => {
  const check = '/grpc.health.v1.Health/Check';
  const quick = new SessionManager({ health: { everyMs: 5, timeoutMs: 50 } });
  open.push(quick);
  let healthy = true;
  let asked = 0;
  const peer = client({
    handlers: {
      [check]: async (call) => {
        asked++;
        if (!healthy) throw new Error('stopped');
        for await (const _ of call.messages) return call.send(Buffer.from([0x08, 0x01]));
      },
    },
  });
  const session = join(quick, peer);
  while (asked < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(session.closed.aborted).toBe(false);
  healthy = false;
  await closed(session.closed);
  // One that is silent is let go as well.
  const silent = client({
    handlers: { [check]: ({ stream }) => new Promise((resolve) => stream.once('close', resolve)) },
  });
  await closed(join(quick, silent).closed);
});

test('a client may say how long one check may take: the first late one ends the session', async () => {
  const header = 'x-buildkit-session-health-custom-timeout';
  const of = (text: string) => readSessionInfo({ ...client().headers, [header]: text }).healthMs;
  expect(['2000', '1', '99999999999', '0', '-5', 'soon', '1.5', ''].map(of)).toEqual([
    2_000,
    1_000,
    3_600_000,
    ...[undefined, undefined, undefined, undefined, undefined],
  ]);
  let checks = 0;
  const silent = client({
    handlers: {
      '/grpc.health.v1.Health/Check': ({ stream }) => {
        checks++;
        return new Promise((resolve) => stream.once('close', resolve));
      },
      // And while something else is asked of it.
      '/moby.buildkit.secrets.v1.Secrets/GetSecret': ({ stream }) =>
        new Promise((resolve) => stream.once('close', resolve)),
    },
  });
  const [ours, theirs] = duplexPair();
  const session = manager.accept(ours, { ...silent.headers, [header]: '1' });
  silent.serve(theirs);
  await expect(session.secret('token')).rejects.toMatchObject({ code: 'unavailable', hop: 'session' });
  await closed(session.closed);
  expect(checks).toBe(1);
});

test('what is not HTTP/2 ends the session', async () => {
  const [ours, theirs] = duplexPair();
  const session = manager.accept(ours, client({ id: 'rude' }).headers);
  theirs.write('HTTP/1.1 200 OK\r\n\r\nhello, this is no HTTP/2 at all');
  theirs.resume();
  await closed(session.closed);
  await expect(session.secret('token')).rejects.toMatchObject({ code: 'unavailable', hop: 'session' });
});

test('a build may name a session that is not there: only asking for something fails', async () => {
  const named = namedSession(manager, 'gone', { waitMs: 10 });
  const lost = {
    code: 'unavailable',
    hop: 'session',
    message: expect.stringContaining('its session gone is not connected'),
  };
  await expect(named.local('context')).rejects.toMatchObject(lost);
  await expect(named.secret('token')).rejects.toMatchObject(lost);
  await expect(named.output().tar()).rejects.toMatchObject(lost);
  // A public image needs no credentials; a private one's error will tell why there were none.
  expect(await named.credentials('reg.example')).toEqual({
    absent: expect.stringContaining('its session gone is not connected'),
  });
  expect(named.closed.aborted).toBe(false);
});

test('a session found by name is asked like any other, and its end is told', async () => {
  const peer = client();
  const named = namedSession(manager, peer.id, { waitMs: 10_000 });
  const secret = named.secret('token');
  await peer.connect(socketPath);
  expect(String(await secret)).toBe('s3cret');
  peer.close();
  await closed(named.closed);
});

test('a call that is given up is cancelled at the client', async () => {
  const seen = Promise.withResolvers<void>();
  const peer = client({
    handlers: {
      '/moby.filesync.v1.FileSync/DiffCopy': async ({ stream }) => {
        await new Promise((resolve) => stream.once('close', resolve));
        seen.resolve();
      },
    },
  });
  const session = join(manager, peer);
  const folder = await session.local('context');
  if (folder?.kind !== 'sync') throw new Error('no folder');
  const stop = new AbortController();
  const syncing = folder.sync(joinPath(dir, 'sync'), {}, () => {}, stop.signal);
  setTimeout(() => stop.abort(), 50);
  await expect(syncing).rejects.toMatchObject({ code: 'canceled' });
  await seen.promise;
});

test('a client on this machine may send less ahead than one elsewhere', () => {
  expect([{}, { remoteAddress: '127.0.0.1' }, { remoteAddress: '::ffff:127.1.2.3' }].map(isNear)).toEqual([
    true,
    true,
    true,
  ]);
  expect([{ remoteAddress: '10.0.0.7' }, { remoteAddress: '2001:db8::1' }, undefined].map(isNear)).toEqual([
    false,
    false,
    false,
  ]);
});
