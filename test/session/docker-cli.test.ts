/**
 * Sessions with a client of Go's: docker CLI 20.10 with BuildKit, against a server that only does with its session what
 * each test says. It knows the files of its context, its outputs, secrets, ssh agents and registry accounts.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openView } from '../../src/fs/open.ts';
import { lgetxattr, lsetxattr } from '../../src/linux/libc.ts';
import { SessionManager } from '../../src/session/manager.ts';
import { namedSession } from '../../src/session/named-session.ts';
import type { ClientSession } from '../../src/session/types.ts';
import { treeOf } from '../kit/tree.ts';

let dir: string;
let server: Server;
let manager: SessionManager;
/** What the server does instead of building; its error is the build's. */
let work: (session: ClientSession, query: URLSearchParams) => Promise<void>;
let upgradeAfterMs = 0;
const clients = new Set<ChildProcess>();
const signal = new AbortController().signal;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-cli-session-'));
  mkdirSync(join(dir, 'app'));
  manager = new SessionManager();
  server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://docker');
    if (pathname === '/_ping') {
      response.setHeader('api-version', '1.41');
      response.setHeader('builder-version', '2');
      response.setHeader('ostype', 'linux');
      response.end('OK');
      return;
    }
    request.resume();
    const session = namedSession(manager, searchParams.get('session') ?? '', { waitMs: 10_000 });
    try {
      await work(session, searchParams);
      response.end(`${JSON.stringify({ id: 'moby.image.id', aux: { ID: 'sha256:0' } })}\r\n`);
    } catch (err) {
      const { message } = err as Error;
      response.end(`${JSON.stringify({ errorDetail: { message }, error: message })}\r\n`);
    }
  });
  server.on('upgrade', (request, socket, head) => {
    setTimeout(() => manager.upgrade(request, socket, head), upgradeAfterMs);
  });
  await new Promise<void>((resolve) => server.listen(join(dir, 'docker.sock'), resolve));
});
afterEach(() => {
  for (const client of clients) client.kill('SIGKILL');
  clients.clear();
  manager.close();
  server.close();
  server.closeAllConnections();
  rmSync(dir, { recursive: true, force: true });
});

const path = (...parts: string[]) => join(dir, ...parts);

/** Runs `docker build ARGS app`. */
async function build(args: string[] = [], env: Record<string, string> = {}) {
  const child = spawn('/usr/bin/docker', ['build', ...args, path('app')], {
    env: {
      PATH: process.env.PATH,
      HOME: dir,
      DOCKER_CONFIG: path('config'),
      DOCKER_HOST: `unix://${path('docker.sock')}`,
      DOCKER_BUILDKIT: '1',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  clients.add(child);
  const [out, err, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise((resolve) => child.once('close', resolve)),
  ]);
  return { out, err, code };
}

/** Brings a folder of the session's; the bytes that travelled. */
async function sync(session: ClientSession, dest: string, name = 'context', select = {}): Promise<number> {
  const folder = await session.local(name);
  if (folder?.kind !== 'sync') throw new Error('it serves no files');
  let bytes = 0;
  const report = (_: string, { current }: { current: number }) => {
    bytes = current;
  };
  await folder.sync(path(dest), select, report, signal);
  return bytes;
}
const tree = (at: string) => treeOf(openView({ kind: 'folder', dir: path(at), rootOwned: false }));

test('the context arrives as it is, then only what changed', async () => {
  writeFileSync(path('app/Dockerfile'), 'FROM scratch\n');
  mkdirSync(path('app/größe/日本'), { recursive: true });
  writeFileSync(path('app/größe/日本/x, y'), 'x');
  writeFileSync(path('app/run.sh'), '#!/bin/sh\n');
  chmodSync(path('app/run.sh'), 0o755);
  linkSync(path('app/run.sh'), path('app/same.sh'));
  symlinkSync('run.sh', path('app/link'));
  lsetxattr(
    path('app/Dockerfile'),
    'security.capability',
    Buffer.from('0100000200040000000000000000000000000000', 'hex'),
  );
  for (let i = 0; i < 300; i++) writeFileSync(path(`app/f${i}`), Buffer.alloc(10_000, i));
  const sizes: number[] = [];
  work = async (session, query) => {
    expect(query.get('remote')).toBe('client-session');
    await sync(session, 'dockerfile', 'dockerfile', { followPaths: ['Dockerfile'] });
    sizes.push(await sync(session, 'context', 'context', { excludes: ['f2*', '!f2'] }));
  };
  expect((await build()).code).toBe(0);
  expect(tree('dockerfile')).toEqual({ '/Dockerfile': 'FROM scratch\n' });
  const want = Object.entries(tree('app')).filter(([name]) => !/^\/f2./.test(name));
  expect(Object.entries(tree('context')).toSorted()).toEqual(want.toSorted());
  for (const name of ['run.sh', 'größe', 'f1']) {
    const [ours, theirs] = ['context', 'app'].map((at) => lstatSync(path(at, name), { bigint: true }));
    expect([ours?.mode, ours?.mtimeNs]).toEqual([theirs?.mode, theirs?.mtimeNs]);
  }
  expect(lstatSync(path('context/run.sh')).ino).toBe(lstatSync(path('context/same.sh')).ino);
  expect(lgetxattr(path('context/Dockerfile'), 'security.capability')?.length).toBe(20);
  writeFileSync(path('app/f7'), 'changed');
  expect((await build()).code).toBe(0);
  expect(tree('context')['/f7']).toBe('changed');
  expect(sizes[0]).toBeGreaterThan(1_900_000);
  expect(sizes[1]).toBeLessThan(30_000);
});

test('patterns with all kinds of characters select what they say', async () => {
  writeFileSync(path('app/Dockerfile'), '');
  for (const name of ['a, b', 'größe', 'x%41', 'p+q', 'other']) writeFileSync(path('app', name), name);
  work = async (session) => {
    await sync(session, 'one', 'context', { includes: ['größe', 'x%41', 'p+q', 'a, b'] });
    await sync(session, 'two', 'context', { includes: ['x%41', 'p+q', 'a, b'] });
  };
  expect((await build()).code).toBe(0);
  expect(Object.keys(tree('one'))).toEqual(['/a, b', '/größe', '/p+q', '/x%41'].toSorted());
  expect(Object.keys(tree('two'))).toEqual(['/a, b', '/p+q', '/x%41']);
});

test('secrets, and an ssh agent', async () => {
  writeFileSync(path('app/Dockerfile'), '');
  writeFileSync(path('token'), 'hunter2');
  // An agent of no keys: the CLI passes on what it says.
  const agent = createSocketServer((socket) => {
    socket.on('data', () => socket.write(Buffer.from([0, 0, 0, 5, 12, 0, 0, 0, 0])));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => agent.listen(path('agent.sock'), resolve));
  const answers: unknown[] = [];
  work = async (session) => {
    answers.push(String(await session.secret('token')), await session.secret('none'));
    answers.push(await session.ssh('other').catch((err: Error) => err.message));
    const dial = await session.ssh('default');
    const stream = await dial!();
    // "Which keys have you?" https://datatracker.ietf.org/doc/html/draft-miller-ssh-agent
    stream.write(Buffer.from([0, 0, 0, 1, 11]));
    const said: number[] = [];
    for await (const data of stream) {
      said.push(...data);
      if (said.length === 9) break;
    }
    answers.push(said);
  };
  const args = ['--secret', `id=token,src=${path('token')}`, '--ssh', 'default'];
  const { code, err } = await build(args, { SSH_AUTH_SOCK: path('agent.sock') });
  agent.close();
  expect([err.includes('hunter2'), code]).toEqual([false, 0]);
  expect(answers).toEqual([
    'hunter2',
    undefined,
    'unset ssh forward key other',
    [0, 0, 0, 5, 12, 0, 0, 0, 0],
  ]);
});

test('registry accounts: name and password, and tokens that the CLI gets itself for an account it proves', async () => {
  writeFileSync(path('app/Dockerfile'), '');
  mkdirSync(path('config'));
  const auth = Buffer.from('me:pw').toString('base64');
  writeFileSync(path('config/config.json'), JSON.stringify({ auths: { 'reg.example': { auth } } }));
  const asked: string[] = [];
  const tokenServer = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers.authorization ?? ''}`);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ token: 'a-token', expires_in: 600 }));
  });
  await new Promise<void>((resolve) => tokenServer.listen(path('token.sock'), resolve));
  tokenServer.close();
  await new Promise<void>((resolve) => tokenServer.listen(0, '127.0.0.1', resolve));
  const address = tokenServer.address();
  const realm = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/token`;
  const seen: unknown[] = [];
  work = async (session) => {
    const known = await session.credentials('reg.example');
    seen.push(await known?.login?.(), known?.tokens?.identity.split(' ')[0]);
    const scopes = ['repository:app:pull'];
    seen.push(await known?.tokens?.fetch({ realm, service: 'reg', scopes }));
    const hub = await session.credentials('https://index.docker.io/v1/');
    seen.push(await hub?.login?.());
  };
  const { code, err } = await build();
  tokenServer.close();
  expect([code, err.includes('pw')]).toEqual([0, false]);
  expect(seen).toEqual([
    { username: 'me', password: 'pw' },
    'account',
    { token: 'a-token', expiresIn: 600 },
    undefined,
  ]);
  expect(asked[0]).toContain('scope=repository%3Aapp%3Apull');
  expect(asked[0]).toContain(`Basic ${auth}`);
});

test('outputs: a folder, and an archive on stdout', async () => {
  writeFileSync(path('app/Dockerfile'), '');
  mkdirSync(path('built/bin'), { recursive: true });
  writeFileSync(path('built/bin/größe'), 'x');
  chmodSync(path('built/bin/größe'), 0o755);
  linkSync(path('built/bin/größe'), path('built/bin/z'));
  writeFileSync(path('built/big'), '');
  truncateSync(path('built/big'), 20_000_000);
  let sent = 0;
  work = async (session) => {
    const spec = { kind: 'folder' as const, dir: path('built'), rootOwned: true };
    sent = (await session.output().send([{ spec }], { signal, timestampNs: 5_000_000_000n })).bytes;
  };
  expect((await build(['-o', path('out')])).code).toBe(0);
  expect(tree('out')).toEqual(tree('built'));
  expect(sent).toBe(20_000_001);
  expect(lstatSync(path('out/bin/größe'))).toMatchObject({ mode: 0o100755, mtimeMs: 5000 });
  expect(lstatSync(path('out/bin/z')).ino).toBe(lstatSync(path('out/bin/größe')).ino);
  work = async (session) => {
    const archive = await session.output().tar();
    await new Promise<void>((resolve, reject) => {
      archive.once('error', reject);
      archive.end(Buffer.alloc(3_000_000, 'tar'), () => resolve());
    });
  };
  const { out } = await build(['-o', '-']);
  expect(out.length).toBe(3_000_000);
  expect((await build(['-o', `type=tar,dest=${path('out.tar')}`])).code).toBe(0);
  expect(readFileSync(path('out.tar')).length).toBe(3_000_000);
});

test('a client without a destination for outputs says so', async () => {
  writeFileSync(path('app/Dockerfile'), '');
  work = async (session) => void (await session.output().tar());
  expect((await build()).err).toContain('it takes no files');
});

test('a client whose build fails before its session is open is let go', async () => {
  writeFileSync(path('app/Dockerfile'), '');
  upgradeAfterMs = 500;
  work = async () => {
    throw new Error('this build is refused');
  };
  // It opens the session after all and waits for its end.
  expect((await build()).err).toContain('this build is refused');
  upgradeAfterMs = 0;
});

test('a folder that the client does not offer is named', async () => {
  writeFileSync(path('app/Dockerfile'), '');
  work = async (session) => void (await sync(session, 'context', 'nothing'));
  expect((await build()).err).toContain('the client offers no folder named "nothing"');
});

test('a client that is killed in the middle leaves the build with a clear error', async () => {
  writeFileSync(path('app/Dockerfile'), '');
  writeFileSync(path('app/big'), '');
  truncateSync(path('app/big'), 2 ** 31);
  const failed = Promise.withResolvers<unknown>();
  work = async (session) => {
    const folder = await session.local('context');
    if (folder?.kind !== 'sync') throw new Error('it serves no files');
    const report = (_: string, { current }: { current: number }) => {
      if (current > 1 << 20) for (const client of clients) client.kill('SIGKILL');
    };
    await folder.sync(path('context'), {}, report, signal).catch(failed.resolve);
  };
  void build();
  expect(await failed.promise).toMatchObject({
    code: 'unavailable',
    hop: 'session',
    message: expect.stringMatching(/asking the client for its build context: its session \w+ is gone/),
  });
  execFileSync('rm', ['-rf', path('context')]);
});
