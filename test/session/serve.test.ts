/** Our own client's side of a session: what `drydock build` answers a daemon. Both ends here are Drydock's. */
import {
  chmodSync,
  createWriteStream,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { duplexPair, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openView } from '../../src/fs/open.ts';
import { GrpcChannel } from '../../src/grpc/channel.ts';
import { inProcessSession } from '../../src/session/in-process.ts';
import { SessionManager } from '../../src/session/manager.ts';
import { SessionServer, type SessionServerOptions } from '../../src/session/serve/session-server.ts';
import { sharedKeyOf } from '../../src/session/serve/shared-key.ts';
import type { ClientSession } from '../../src/session/types.ts';
import { readByteTree } from '../kit/byte-tree.ts';
import { treeOf } from '../kit/tree.ts';

let dir: string;
let manager: SessionManager;
const open: { close(): unknown }[] = [];
const signal = new AbortController().signal;
beforeEach(() => {
  dir = mkdtempSync(joinPath(tmpdir(), 'drydock-serve-'));
  manager = new SessionManager();
});
afterEach(() => {
  for (const thing of open.splice(0)) thing.close();
  manager.close();
  rmSync(dir, { recursive: true, force: true });
});

const path = (...parts: string[]) => joinPath(dir, ...parts);
const connect = (options: SessionServerOptions): ClientSession => {
  const server = new SessionServer(options);
  open.push(server);
  const [ours, theirs] = duplexPair();
  server.serve(theirs);
  return manager.accept(ours, server.headers);
};
const tree = (at: string) => treeOf(openView({ kind: 'folder', dir: at, rootOwned: true }));
const sync = async (session: ClientSession, name: string, select = {}) => {
  const folder = await session.local(name);
  if (folder?.kind !== 'sync') throw new Error('it serves no files');
  await folder.sync(path('dest'), select, () => {}, signal);
};

test('folders are sent as selected, and only what changed', async () => {
  mkdirSync(path('src/größe'), { recursive: true });
  writeFileSync(path('src/größe/a, b.ts'), 'a');
  writeFileSync(path('src/notes.md'), 'n');
  writeFileSync(path('src/run.sh'), 'x');
  chmodSync(path('src/run.sh'), 0o755);
  symlinkSync('run.sh', path('src/link'));
  const session = connect({
    session: inProcessSession({ locals: { context: path('src') } }),
    sharedKey: 'k',
  });
  await sync(session, 'context', { excludes: ['*.md'] });
  expect(tree(path('dest'))).toEqual({
    '/größe': '/',
    '/größe/a, b.ts': 'a',
    '/run.sh': 'x',
    '/link': '-> run.sh',
  });
  expect(lstatSync(path('dest/run.sh')).mode & 0o777).toBe(0o755);
  const before = lstatSync(path('dest/run.sh')).ino;
  await sync(session, 'context', { includes: ['größe/a, b.ts', 'run.sh'] });
  expect(tree(path('dest'))).toEqual({ '/größe': '/', '/größe/a, b.ts': 'a', '/run.sh': 'x' });
  expect(lstatSync(path('dest/run.sh')).ino).toBe(before);
  await expect(sync(session, 'other')).rejects.toMatchObject({ code: 'not-found', hop: 'context' });
});

test('names that are no UTF-8 are sent, selected by their bytes, and known again', async () => {
  const raw = (name: string) => Buffer.concat([Buffer.from(`${path('src')}/`), Buffer.from(name, 'latin1')]);
  mkdirSync(path('src'));
  for (const name of ['caf\xe9', 'caf\xe8', 'caf\xe7', 'caf\xc3\xa9']) writeFileSync(raw(name), name);
  symlinkSync(Buffer.from('caf\xe9', 'latin1'), raw('link'));
  const session = connect({
    session: inProcessSession({ locals: { context: path('src') } }),
    sharedKey: 'k',
  });
  await sync(session, 'context', { listing: path('listing') });
  const wanted = readByteTree(path('src'));
  expect(readByteTree(path('dest'))).toEqual(wanted);
  const before = lstatSync(path('dest/caf\u00e9')).ino;
  await sync(session, 'context', { listing: path('listing') });
  expect(lstatSync(path('dest/caf\u00e9')).ino).toBe(before);
  const { 'caf\xe9': _, ...others } = wanted;
  await sync(session, 'context', { listing: path('listing'), excludes: ['caf\udce9'] });
  expect(readByteTree(path('dest'))).toEqual(others);
  await sync(session, 'context', { includes: ['caf\udce9', 'caf\udce8'] });
  expect(Object.keys(readByteTree(path('dest')))).toEqual(['caf\xe8', 'caf\xe9']);
});

test('outputs are taken by their number: a folder, a file', async () => {
  mkdirSync(path('built/bin'), { recursive: true });
  writeFileSync(path('built/bin/app'), 'app');
  let metadata: Record<string, string> = {};
  const session = connect({
    session: inProcessSession({ locals: {} }),
    outputs: new Map([
      [0, { dir: path('out') }],
      [
        1,
        {
          file: async (given: Record<string, string>) => {
            metadata = given;
            return createWriteStream(path('out.tar'));
          },
        },
      ],
      [4, { dir: path('clean'), remove: true }],
      [2, { file: async () => createWriteStream(path('no/such/folder')) }],
    ]),
  });
  const spec = { kind: 'folder' as const, dir: path('built'), rootOwned: true };
  await session.output(0).send([{ spec }], { signal });
  expect(readFileSync(path('out/bin/app'), 'utf8')).toBe('app');
  mkdirSync(path('clean/bin'), { recursive: true });
  writeFileSync(path('clean/bin/old'), 'old');
  await session.output(4).send([{ spec }], { signal });
  expect(tree(path('clean'))).toEqual({ '/bin': '/', '/bin/app': 'app' });
  const file = await session.output(1).tar({ 'containerimage.digest': 'sha256:0' });
  await new Promise<void>((resolve) => file.end(Buffer.alloc(1_000_000, 'x'), resolve));
  expect(readFileSync(path('out.tar')).length).toBe(1_000_000);
  expect(metadata).toEqual({ 'containerimage.digest': 'sha256:0' });
  const broken = await session.output(2).tar();
  const failed = new Promise((resolve) => broken.once('error', resolve));
  broken.end(Buffer.alloc(10_000_000));
  expect(await failed).toMatchObject({ hop: 'session', message: expect.stringContaining('ENOENT') });
  await expect(session.output(3).send([{ spec }], { signal })).rejects.toThrow('there is no output 3');
});

test('secrets, credentials, uploads and ssh agents', async () => {
  writeFileSync(path('token'), 's3cret');
  const agent = createSocketServer((socket) => socket.end('agent says hi')).listen(path('agent.sock'));
  open.push(agent);
  const session = connect({
    session: inProcessSession({
      locals: {},
      secrets: [{ id: 'token', file: path('token') }],
      uploads: { up: Readable.from([Buffer.alloc(700_000, 'u')]) },
      ssh: [{ id: 'default', paths: [path('agent.sock')] }],
      credentials: async (host) =>
        host === 'https://index.docker.io/v1/' ? { username: 'me', password: 'pw' } : { identityToken: host },
    }),
  });
  expect(String(await session.secret('token'))).toBe('s3cret');
  expect(await session.secret('none')).toBeUndefined();
  expect(await session.credentials('https://index.docker.io/v1/')).toEqual({
    username: 'me',
    password: 'pw',
  });
  expect(await session.credentials('reg.example')).toEqual({ identityToken: 'reg.example' });
  expect((await text((await session.upload('up'))!)).length).toBe(700_000);
  await expect((await session.upload('up'))!.toArray()).rejects.toThrow('read before');
  await expect(session.ssh('other')).rejects.toMatchObject({
    code: 'not-found',
    message: 'there is no ssh agent other',
  });
  const dial = await session.ssh('default');
  expect(await text(await dial!())).toBe('agent says hi');
});

test('a session is opened at a daemon’s socket, or its refusal is told', async () => {
  let refuse = false;
  const daemon: Server = createServer();
  daemon.on('upgrade', (request, socket, head) => {
    if (refuse) socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 23\r\n\r\n{"message":"not today"}');
    else manager.upgrade(request, socket, head);
  });
  open.push(daemon);
  await new Promise<void>((resolve) => daemon.listen(path('daemon.sock'), resolve));
  const server = new SessionServer({ session: inProcessSession({ locals: {} }), name: 'größe' });
  open.push(server);
  await server.open({ socketPath: path('daemon.sock') });
  const session = await manager.find(server.id, 1000);
  expect(await session?.secret('none')).toBeUndefined();
  server.close();
  await new Promise<void>((resolve) => session!.closed.addEventListener('abort', () => resolve()));
  refuse = true;
  await expect(server.open({ socketPath: path('daemon.sock') })).rejects.toMatchObject({
    code: 'unavailable',
    hop: 'client',
    message: 'cannot open a session at the daemon: it answered 403 not today',
  });
  await expect(server.open({ socketPath: path('none.sock') })).rejects.toMatchObject({ code: 'unavailable' });
});

test('it answers the health checks without which BuildKit ends a session', async () => {
  const server = new SessionServer({ session: inProcessSession({ locals: {} }) });
  open.push(server);
  const [ours, theirs] = duplexPair();
  server.serve(theirs);
  const channel = new GrpcChannel(ours);
  open.push(channel);
  const answer = await channel.unary('/grpc.health.v1.Health/Check', Buffer.alloc(0));
  // status = 1: SERVING
  expect([...answer]).toEqual([0x08, 0x01]);
  await expect(channel.unary('/no.such/Method', Buffer.alloc(0))).rejects.toMatchObject({ code: 12 });
});

test('a folder’s key tells folders apart, and not where they are', () => {
  mkdirSync(path('a'));
  symlinkSync('a', path('b'));
  expect(sharedKeyOf(path('a'))).toBe(sharedKeyOf(path('b')));
  expect(sharedKeyOf(path('a'))).not.toBe(sharedKeyOf(dir));
  expect(sharedKeyOf(path('a'))).not.toContain('drydock');
});
